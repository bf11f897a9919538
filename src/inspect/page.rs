//! An inspection as a page: what the file is, and its graph drawn.

use std::fmt::Write;

use attar_infer::report::html;
use maud::{Markup, PreEscaped, html as markup};

use super::lanes::{Row, layout};
use super::{InspectedNode, Inspection};
use crate::table::si;

/// Heights and widths of the drawing, in pixels.
const ROW: usize = 22;
const LANE: usize = 16;
const LEFT: usize = 12;

/// The whole page.
pub fn page(found: &Inspection) -> String {
    let body = markup! {
        p { (found.kind.name()) @if let Some(input) = found.input { ", input " (shape(&input)) }
            @if let Some(classes) = found.classes { ", " (classes) " classes" } }
        (summary(found))
        @for note in &found.notes { p { (note) } }
        @for runtime in &found.runtimes {
            @if let Some(problem) = &runtime.problem { p { b { (runtime.engine) } ": " (problem) } }
        }
        @if !found.obstacles.is_empty() {
            h2 { "What stands in the way of training it" }
            ul { @for obstacle in &found.obstacles { li { (obstacle) } } }
        }
        h2 { "Values" }
        (html::soft("Each name is one that a recipe may tap. A bar is a node's share of the multiply-accumulates."))
        (drawing(&found.nodes))
    };
    html::page(&found.path, &body)
}

fn summary(found: &Inspection) -> Markup {
    let mut rows: Vec<Vec<String>> = Vec::new();
    rows.extend(found.parameters.map(|count| vec!["parameters".to_owned(), si(count as f64)]));
    rows.extend(found.macs.map(|macs| vec!["multiply-accumulates".to_owned(), si(macs as f64)]));
    rows.extend(found.facts.iter().map(|(name, value)| vec![name.clone(), value.clone()]));
    for runtime in &found.runtimes {
        let answer = if runtime.problem.is_some() { "does not run it, see below" } else { "runs it" };
        rows.push(vec![runtime.engine.clone(), answer.to_owned()]);
    }
    if !found.labels.is_empty() {
        rows.push(vec!["classes".to_owned(), found.labels.iter().take(12).cloned().collect::<Vec<_>>().join(", ")]);
    }
    html::table(&["", ""], &rows)
}

fn shape(sizes: &[usize]) -> String {
    sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\u{d7}")
}

/// Lines at the left, one row a value.
fn drawing(nodes: &[InspectedNode]) -> Markup {
    let inputs: Vec<Vec<usize>> = nodes.iter().map(|node| node.inputs.clone()).collect();
    let rows = layout(&inputs);
    let lanes = rows.iter().map(|row| row.lane + 1).max().unwrap_or(1);
    let (width, height) = (LEFT + lanes * LANE, nodes.len() * ROW);
    let most = nodes.iter().map(|node| node.macs).max().unwrap_or(0).max(1);
    markup! {
        div class="scroll" style="display:flex" {
            svg style="flex:none;max-width:none" width=(width) height=(height) viewBox={ "0 0 " (width) " " (height) } role="img" aria-label="graph" {
                (PreEscaped(lines(&rows)))
            }
            div style="flex:1;min-width:41rem" {
                @for node in nodes {
                    div style={ "height:" (ROW) "px;display:flex;gap:1rem;white-space:nowrap;font-size:13px;align-items:center" } {
                        span style="width:20rem;overflow:hidden;text-overflow:ellipsis" title=(node.name) { (node.name) }
                        span style="width:14rem" class="soft" { (node.op) }
                        span style="width:7rem" { (shape(&node.shape)) }
                        span style={ "height:8px;background:var(--good);width:" (node.macs * 120 / most) "px" } {}
                        @if let Some(stage) = &node.stage { b { (stage) } }
                    }
                }
            }
        }
    }
}

fn centre((row, lane): (usize, usize)) -> (usize, usize) {
    (LEFT + lane * LANE, row * ROW + ROW / 2)
}

/// Lines from where a value is made down its lane, and across at its reader; dots for nodes.
fn lines(rows: &[Row]) -> String {
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        let (x, y) = centre((at, row.lane));
        for from in &row.from {
            let (fx, fy) = centre(*from);
            let turn = y - ROW / 2;
            let _ = write!(
                text,
                "<path d=\"M{fx} {fy}V{turn}Q{fx} {y} {x} {y}\" fill=\"none\" stroke=\"var(--soft)\" stroke-width=\"1.3\"/>"
            );
        }
    }
    for (at, row) in rows.iter().enumerate() {
        let (x, y) = centre((at, row.lane));
        let _ = write!(text, "<circle cx=\"{x}\" cy=\"{y}\" r=\"4\" fill=\"var(--ink)\"/>");
    }
    text
}
