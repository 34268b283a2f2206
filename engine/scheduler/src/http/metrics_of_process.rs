//! What the kernel says of this process, for `/metrics`.

use super::metrics::Text;
use std::fs;

/// Adds what can be read; elsewhere than on Linux that is nothing.
pub fn write(text: &mut Text, started: f64) {
    text.of_process(
        "start_time_seconds",
        "gauge",
        "When the process started",
        started,
    );
    if let Some(usage) = usage() {
        text.of_process(
            "cpu_seconds_total",
            "counter",
            "Processor time used",
            usage.cpu_seconds,
        );
        text.of_process(
            "virtual_memory_bytes",
            "gauge",
            "Virtual memory",
            usage.virtual_bytes,
        );
        text.of_process(
            "resident_memory_bytes",
            "gauge",
            "Resident memory",
            usage.resident_bytes,
        );
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        text.of_process(
            "open_fds",
            "gauge",
            "Open file descriptors",
            open.count() as f64,
        );
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    if let Some(limit) = limit {
        text.of_process("max_fds", "gauge", "File descriptors allowed", limit as f64);
    }
}

struct Usage {
    cpu_seconds: f64,
    virtual_bytes: f64,
    resident_bytes: f64,
}

fn usage() -> Option<Usage> {
    parse(
        &fs::read_to_string("/proc/self/stat").ok()?,
        rustix::param::clock_ticks_per_second() as f64,
        rustix::param::page_size() as f64,
    )
}

/// Reads `/proc/<pid>/stat`; the program's name, in parentheses, may hold anything.
fn parse(stat: &str, ticks_per_second: f64, page_bytes: f64) -> Option<Usage> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    // The first field here is the third of proc(5): utime is its 14th, stime 15th, vsize 23rd, rss 24th.
    let number = |at: usize| fields.get(at - 3)?.parse::<f64>().ok();
    Some(Usage {
        cpu_seconds: (number(14)? + number(15)?) / ticks_per_second,
        virtual_bytes: number(23)?,
        resident_bytes: number(24)? * page_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_process_with_a_strange_name_are_found() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 3 0 100 1048576 25 18446744073709551615";
        let usage = parse(stat, 100.0, 4096.0).unwrap();
        assert_eq!(usage.cpu_seconds, 2.0);
        assert_eq!(usage.virtual_bytes, 1_048_576.0);
        assert_eq!(usage.resident_bytes, 102_400.0);
    }
}
