//! Places at which a test ends or freezes the process.

/// Does what `FAILPOINT=NAME:ACTION:N` says once the place of that name is reached for the Nth time: `kill` ends the process
/// as `kill -9` does, `stop` freezes it. Nothing in a release.
#[cfg(debug_assertions)]
pub fn failpoint(name: &str) {
    use std::process::Command;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static SET: OnceLock<Option<(String, String, u32)>> = OnceLock::new();
    static REACHED: AtomicU32 = AtomicU32::new(0);
    let set = SET.get_or_init(|| {
        let set = std::env::var("FAILPOINT").ok()?;
        let mut parts = set.split(':').map(str::to_owned);
        Some((parts.next()?, parts.next()?, parts.next()?.parse().ok()?))
    });
    let Some((_, action, n)) = set.as_ref().filter(|(place, ..)| place == name) else { return };
    if REACHED.fetch_add(1, Ordering::SeqCst) + 1 == *n {
        let signal = if action == "kill" { "-KILL" } else { "-STOP" };
        let _never_answers =
            Command::new("kill").args([signal, &std::process::id().to_string()]).status();
    }
}

/// There is none in a release.
#[cfg(not(debug_assertions))]
#[inline]
pub const fn failpoint(_: &str) {}
