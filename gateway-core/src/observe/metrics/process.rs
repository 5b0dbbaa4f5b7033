//! What the operating system knows about this process, under the conventional names.
//!
//! Read from `/proc`; on systems without it only the start time and the build are shown.

use std::fs;

use super::scrape::Scrape;

/// Clock ticks per second in `/proc` files: `USER_HZ`, 100 on every architecture we build for.
const TICKS_PER_SECOND: f64 = 100.0;

/// `started` is the fallback for the start time, in seconds since the epoch.
pub(super) fn collect(scrape: &mut Scrape, started: f64) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let start = start_ticks(&stat)
        .zip(boot_time(
            &fs::read_to_string("/proc/stat").unwrap_or_default(),
        ))
        .map_or(started, |(ticks, boot)| boot + ticks / TICKS_PER_SECOND);
    scrape.gauge(
        "process_start_time_seconds",
        "Start time of the process since the Unix epoch in seconds.",
        &[],
        start,
    );
    if let Some(seconds) = cpu_seconds(&stat) {
        scrape.counter(
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
            &[],
            seconds,
        );
    }
    if let Some(bytes) = resident(&status) {
        scrape.gauge(
            "process_resident_memory_bytes",
            "Resident memory size in bytes.",
            &[],
            bytes as f64,
        );
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // The directory itself is one of the open descriptors it lists.
        let open = entries.count().saturating_sub(1);
        scrape.gauge(
            "process_open_fds",
            "Number of open file descriptors.",
            &[],
            open as f64,
        );
    }
    if let Some(limit) = max_fds(&fs::read_to_string("/proc/self/limits").unwrap_or_default()) {
        scrape.gauge(
            "process_max_fds",
            "Maximum number of open file descriptors.",
            &[],
            limit,
        );
    }
    scrape.gauge(
        "portcullis_build_info",
        "The running version; always 1.",
        &[("version", env!("CARGO_PKG_VERSION"))],
        1.0,
    );
}

/// Field `number` of `/proc/self/stat`, counted from one as in proc(5). The second field is a name in
/// parentheses that may hold anything, so counting starts behind the last parenthesis.
fn stat_field(stat: &str, number: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace()
        .nth(number.checked_sub(3)?)?
        .parse()
        .ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((stat_field(stat, 14)? + stat_field(stat, 15)?) / TICKS_PER_SECOND)
}

fn start_ticks(stat: &str) -> Option<f64> {
    stat_field(stat, 22)
}

/// When the machine was started, in seconds since the epoch, from `/proc/stat`.
fn boot_time(stat: &str) -> Option<f64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

/// Resident memory of this process; `None` where that is not known.
pub(crate) fn resident_bytes() -> Option<u64> {
    resident(&fs::read_to_string("/proc/self/status").ok()?)
}

fn resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn max_fds(limits: &str) -> Option<f64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_proc_files_even_with_a_hostile_process_name() {
        let stat = "1 (a) 9) b) S 2 3 4 5 6 7 8 9 10 11 250 50 0 0 20 0 1 0 777 100 5";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(start_ticks(stat), Some(777.0));
        assert_eq!(boot_time("cpu 1 2\nbtime 1700000000\n"), Some(1.7e9));
        assert_eq!(
            resident("VmSize:\t  10 kB\nVmRSS:\t      8 kB\n"),
            Some(8192)
        );
        assert_eq!(
            max_fds("Max open files            1024                 4096  files"),
            Some(1024.0)
        );
        assert_eq!(cpu_seconds(""), None);
        assert_eq!(cpu_seconds("1 (x) S 2"), None);
    }
}
