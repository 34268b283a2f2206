//! Pages for people: the status page and the list of JSON routes.
//!
//! One writer makes the page for the first visit and for every refresh: the page's script asks for it again and takes
//! over its main part. Invariant: whatever comes from users or peers is escaped.

use super::json::Failure;
use super::{Shown, facts};
use axum::extract::State;
use axum::response::Html;
use contract::http::{SchedulerStatus, WorkerState};
use std::fmt::{self, Display, Write as _};

/// Failed tasks the page lists.
const FAILED_TASKS: usize = 20;
/// Workers the page lists; the rest is counted.
const WORKERS: usize = 500;

const FRAME: &str = include_str!("status.html");

pub async fn status(State(shown): State<Shown>) -> Result<Html<String>, Failure> {
    let status = facts::status(&shown.ctx, FAILED_TASKS).await?;
    Ok(Html(FRAME.replace("<!-- content -->", &content(&status))))
}

pub async fn json_index(State(shown): State<Shown>) -> Html<String> {
    let prefix = &shown.ctx.config.http.prefix;
    let routes = ["counts.json", "identity.json"]
        .map(|route| format!("<li><a href=\"{prefix}/json/{route}\">{route}</a></li>"))
        .concat();
    Html(format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>JSON routes</title></head>\
         <body><h1>JSON routes</h1><ul>{routes}</ul></body></html>"
    ))
}

fn content(status: &SchedulerStatus) -> String {
    let mut html = String::new();
    // Writing to a String cannot fail.
    let _infallible = head(&mut html, status)
        .and_then(|()| tiles(&mut html, status))
        .and_then(|()| tasks(&mut html, status))
        .and_then(|()| workers(&mut html, status))
        .and_then(|()| failures(&mut html, status));
    html
}

fn head(html: &mut String, status: &SchedulerStatus) -> fmt::Result {
    let up = Duration(status.now - status.started);
    write!(
        html,
        "<header><h1>Dask scheduler</h1><p><code>{}</code> · up {up} · {}</p></header>",
        Escaped(&status.address),
        match status.idle_since {
            Some(since) => format!("idle for {}", Duration(status.now - since)),
            None => "at work".to_owned(),
        }
    )
}

fn tiles(html: &mut String, status: &SchedulerStatus) -> fmt::Result {
    let memory = status.memory;
    let limit = match memory.limit_bytes {
        0 => String::new(),
        limit => format!(" of {}", Bytes(limit)),
    };
    let tiles = [
        (
            "Workers",
            status.workers.len().to_string(),
            format!("{} threads", status.threads),
        ),
        (
            "Wanted",
            status.desired_workers.to_string(),
            "workers for the present work".to_owned(),
        ),
        ("Clients", status.clients.to_string(), String::new()),
        ("Memory", Bytes(memory.process_bytes).to_string(), limit),
        (
            "Results",
            Bytes(memory.result_bytes).to_string(),
            "held by workers".to_owned(),
        ),
        (
            "Lost",
            status.failures.workers_removed.to_string(),
            format!("of {} workers so far", status.failures.workers_added),
        ),
    ];
    html.write_str("<section class=\"tiles\">")?;
    for (name, value, remark) in tiles {
        write!(
            html,
            "<div><h2>{name}</h2><b>{value}</b><small>{remark}</small></div>"
        )?;
    }
    html.write_str("</section>")
}

fn tasks(html: &mut String, status: &SchedulerStatus) -> fmt::Result {
    let total: u64 = status.tasks.values().sum();
    write!(
        html,
        "<section><h2>Tasks <small>{total}</small></h2><div class=\"bar\">"
    )?;
    // In the order in which a task passes through them.
    const ORDER: [&str; 7] = [
        "memory",
        "processing",
        "queued",
        "waiting",
        "no-worker",
        "released",
        "erred",
    ];
    let counts = ORDER.map(|state| (state, status.tasks.get(state).copied().unwrap_or(0)));
    for (state, count) in counts.iter().filter(|(_, count)| *count > 0) {
        write!(
            html,
            "<i class=\"{state}\" style=\"flex-grow:{count}\" title=\"{count} {state}\"></i>"
        )?;
    }
    html.write_str("</div><ul class=\"legend\">")?;
    for (state, count) in counts {
        write!(html, "<li><i class=\"{state}\"></i>{count} {state}</li>")?;
    }
    html.write_str("</ul></section>")
}

fn workers(html: &mut String, status: &SchedulerStatus) -> fmt::Result {
    html.write_str("<section><h2>Workers</h2>")?;
    if status.workers.is_empty() {
        return html.write_str("<p>None has registered yet.</p></section>");
    }
    html.write_str(
        "<table><thead><tr><th>Name<th>Address<th>Status<th class=n>Threads<th class=n>Processing\
         <th class=n>Results<th>Memory<th class=n>CPU<th class=n>Seen</tr></thead><tbody>",
    )?;
    for worker in status.workers.iter().take(WORKERS) {
        worker_row(html, worker, status.now)?;
    }
    html.write_str("</tbody></table>")?;
    if let Some(more) = status
        .workers
        .len()
        .checked_sub(WORKERS)
        .filter(|more| *more > 0)
    {
        write!(html, "<p>… and {more} more.</p>")?;
    }
    html.write_str("</section>")
}

fn worker_row(html: &mut String, worker: &WorkerState, now: f64) -> fmt::Result {
    let (used, limit) = (worker.process_memory_bytes, worker.memory_limit_bytes);
    let memory = match limit {
        0 => Bytes(used).to_string(),
        limit => format!(
            "<meter max=\"{limit}\" high=\"{}\" value=\"{used}\"></meter> {} of {}",
            limit / 10 * 8,
            Bytes(used),
            Bytes(limit)
        ),
    };
    write!(
        html,
        "<tr><td>{}<td><code>{}</code><td>{}<td class=n>{}<td class=n>{}<td class=n>{}<td>{memory}<td class=n>{:.0} %<td class=n>{}</tr>",
        Escaped(&worker.name),
        Escaped(&worker.address),
        Escaped(&worker.status),
        worker.threads,
        worker.processing,
        worker.in_memory,
        worker.cpu_percent,
        Duration(now - worker.last_seen),
    )
}

fn failures(html: &mut String, status: &SchedulerStatus) -> fmt::Result {
    if status.failed_tasks.is_empty() {
        return Ok(());
    }
    html.write_str("<section><h2>Failed tasks</h2><table><tbody>")?;
    for task in &status.failed_tasks {
        write!(
            html,
            "<tr><td><code>{}</code><td><code>{}</code></tr>",
            Escaped(&task.key),
            Escaped(&task.exception)
        )?;
    }
    html.write_str("</tbody></table></section>")
}

/// A text that HTML shows as it is.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c => f.write_char(c),
        })
    }
}

/// A byte count as people read it.
struct Bytes(u64);

impl Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["kiB", "MiB", "GiB", "TiB", "PiB"];
        let mut value = self.0 as f64;
        if value < 1024.0 {
            return write!(f, "{} B", self.0);
        }
        let mut unit = "";
        for larger in UNITS {
            if value < 1024.0 {
                break;
            }
            (value, unit) = (value / 1024.0, larger);
        }
        write!(f, "{value:.1} {unit}")
    }
}

/// Seconds as people read them.
struct Duration(f64);

impl Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.max(0.0) as u64;
        match seconds {
            0..60 => write!(f, "{seconds} s"),
            60..3600 => write!(f, "{} min {} s", seconds / 60, seconds % 60),
            _ => write!(f, "{} h {} min", seconds / 3600, seconds / 60 % 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::http::FailedTask;

    #[test]
    fn what_users_write_is_escaped() {
        let status = SchedulerStatus {
            workers: vec![WorkerState {
                name: "<b>alice</b>".to_owned(),
                ..WorkerState::default()
            }],
            failed_tasks: vec![FailedTask {
                key: "f-1".to_owned(),
                exception: "<script>alert(\"1\")</script>".to_owned(),
            }],
            ..SchedulerStatus::default()
        };
        let html = content(&status);
        assert!(html.contains("&lt;b&gt;alice&lt;/b&gt;"), "{html}");
        assert!(
            html.contains("&lt;script&gt;alert(&quot;1&quot;)"),
            "{html}"
        );
        assert!(!html.contains("<script"), "{html}");
    }

    #[test]
    fn sizes_and_times_are_readable() {
        let sizes = [0, 1023, 1024, 1_572_864, 3 << 40].map(|bytes| Bytes(bytes).to_string());
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 kiB", "1.5 MiB", "3.0 TiB"]);
        let times = [-1.0, 59.9, 61.0, 7_260.0].map(|seconds| Duration(seconds).to_string());
        assert_eq!(times, ["0 s", "59 s", "1 min 1 s", "2 h 1 min"]);
    }

    #[test]
    fn the_frame_has_a_place_for_the_content() {
        assert_eq!(FRAME.matches("<!-- content -->").count(), 1);
    }
}
