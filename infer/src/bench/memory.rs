//! Memory of this process, from Linux's /proc; elsewhere nothing is said.

/// Resident bytes before the measured work.
#[derive(Debug, Clone, Copy)]
pub struct Before(u64);

/// Sets the kernel's high-water mark back to the present and reads it. `None` where the mark cannot be set back (no
/// permission in some containers): an older, higher one would be reported as ours.
pub fn start() -> Option<Before> {
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    status("VmRSS:").map(Before)
}

/// How far the high-water mark rose since, in bytes.
pub fn peak_since(before: Before) -> Option<u64> {
    status("VmHWM:").map(|peak| peak.saturating_sub(before.0))
}

/// The most resident bytes of another process so far, while it lives.
pub fn peak_of(process: u32) -> Option<u64> {
    bytes(&std::fs::read_to_string(format!("/proc/{process}/status")).ok()?, "VmHWM:")
}

fn status(key: &str) -> Option<u64> {
    bytes(&std::fs::read_to_string("/proc/self/status").ok()?, key)
}

/// A line of /proc/self/status, which gives kibibytes, in bytes.
fn bytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_and_anything_else_is_nothing() {
        let text = "Name:\tattar\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nVmPin:\tmany kB\nVmLck:\t 3 MB\n";
        assert_eq!([bytes(text, "VmHWM:"), bytes(text, "VmRSS:")], [Some(2 << 20), Some(1 << 20)]);
        assert_eq!([bytes(text, "VmPin:"), bytes(text, "VmLck:"), bytes(text, "VmSwap:")], [None; 3]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_block_that_was_freed_is_still_seen() {
        let Some(before) = start() else { return };
        let block = std::hint::black_box(vec![1u8; 64 << 20]);
        drop(block);
        let peak = peak_since(before).unwrap();
        assert!(peak >= 60 << 20, "{peak} bytes");
    }
}
