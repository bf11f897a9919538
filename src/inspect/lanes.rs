//! Where the lines of a graph run when its nodes stand below each other: each value keeps a lane from where it is made to
//! where it is read last.

/// One node in the drawing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// The lane in which it stands.
    pub(super) lane: usize,
    /// Lines that end in it: row and lane from where they come.
    pub(super) from: Vec<(usize, usize)>,
}

/// Lays out nodes by what each of them reads; inputs come before.
pub(super) fn layout(inputs: &[Vec<usize>]) -> Vec<Row> {
    let mut last_read: Vec<usize> = (0..inputs.len()).collect();
    for (at, reads) in inputs.iter().enumerate() {
        reads.iter().for_each(|read| last_read[*read] = last_read[*read].max(at));
    }
    let mut lanes: Vec<Option<usize>> = Vec::new(); // which node's value runs in each
    let mut rows: Vec<Row> = Vec::new();
    for (at, reads) in inputs.iter().enumerate() {
        let from = reads.iter().map(|read| (*read, rows[*read].lane)).collect();
        for lane in &mut lanes {
            *lane = lane.filter(|node| last_read[*node] > at);
        }
        // A node goes on in the lane of what it reads, where nobody else still needs that.
        let own = reads.iter().map(|read| rows[*read].lane).find(|lane| lanes[*lane].is_none());
        let lane = own.or_else(|| lanes.iter().position(Option::is_none)).unwrap_or(lanes.len());
        if lane == lanes.len() {
            lanes.push(None);
        }
        lanes[lane] = Some(at);
        rows.push(Row { lane, from });
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_stays_in_one_lane_and_a_branch_takes_another() {
        let chain = layout(&[vec![], vec![0], vec![1]]);
        assert!(chain.iter().all(|row| row.lane == 0));
        // A residual block: 0 is read by 1 and 3.
        let block = layout(&[vec![], vec![0], vec![1], vec![2, 0], vec![3]]);
        assert_eq!(block.iter().map(|row| row.lane).collect::<Vec<_>>(), [0, 1, 1, 1, 1]);
        assert_eq!(block[3].from, [(2, 1), (0, 0)]);
    }

    #[test]
    fn two_values_that_live_never_share_a_lane() {
        let inputs = [vec![], vec![0], vec![0], vec![0], vec![1, 2], vec![4, 3], vec![5, 0]];
        let rows = layout(&inputs);
        let until = |node: usize| (0..inputs.len()).rev().find(|at| inputs[*at].contains(&node)).unwrap_or(node);
        for a in 0..rows.len() {
            for b in a + 1..rows.len() {
                assert!(rows[a].lane != rows[b].lane || until(a) <= b, "{a} and {b}: {rows:?}");
            }
        }
    }
}
