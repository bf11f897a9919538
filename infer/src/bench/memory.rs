//! Memory of this process, from Linux's /proc; elsewhere nothing is said.

/// Resident bytes before the measured work.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before(u64);

/// Sets the kernel's high-water mark back to the present and reads it.
pub(super) fn start() -> Option<Before> {
    // Where the mark cannot be set back (no permission in some containers) an older, higher one would be reported as ours.
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    status("VmRSS:").map(Before)
}

/// How far the high-water mark rose since.
pub(super) fn peak_since(before: Before) -> Option<u64> {
    status("VmHWM:").map(|peak| peak.saturating_sub(before.0))
}

/// A line of /proc/self/status, which gives kibibytes.
fn status(key: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_was_freed_is_still_seen() {
        let Some(before) = start() else { return };
        let block = std::hint::black_box(vec![1u8; 64 << 20]);
        drop(block);
        let peak = peak_since(before).unwrap();
        assert!(peak >= 60 << 20, "{peak} bytes");
    }
}
