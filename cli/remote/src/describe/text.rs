//! A job in full, as text. Pure: of the job, its pods, its events and the time.

use super::pods;
use crate::job::Job;
use crate::{columns, outcome, remedy, times};
use contract::status::{ConditionStatus, JobStatus, Timeline};
use contract::timestamp::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use serde_json::Value;

/// Pods beyond this are counted, the telling ones first.
const PODS_SHOWN: usize = 30;
/// Events beyond this are left out, the oldest first.
const EVENTS_SHOWN: usize = 20;

/// What there is to describe.
pub struct Subject<'a> {
    pub job: &'a Job,
    pub pods: &'a [Pod],
    pub events: &'a [Event],
    pub now: u64,
}

/// All of it.
pub fn text_of(subject: &Subject<'_>) -> String {
    let job = subject.job;
    let sections = [
        head(job, subject.now),
        workers(&job.status),
        timeline(&job.status.timeline),
        conditions(&job.status, subject.now),
        pods_section(subject),
        log(job),
        events(subject),
    ];
    let sections: Vec<String> = sections
        .into_iter()
        .filter(|section| !section.is_empty())
        .collect();
    sections.join("\n")
}

fn field(name: &str, value: &str) -> String {
    let mut lines = value.lines();
    let first = lines.next().unwrap_or_default();
    let mut text = format!("{:<12}{first}\n", format!("{name}:"));
    for line in lines {
        text.push_str(&format!("            {line}\n"));
    }
    text
}

fn head(job: &Job, now: u64) -> String {
    let status = &job.status;
    let mut text = field("Name", job.name());
    text.push_str(&field("Namespace", job.namespace()));
    let took = outcome::seconds_taken(job, now).map_or_else(String::new, |seconds| {
        match job.is_finished() {
            true => format!(" after {}", times::duration(seconds)),
            false => format!(", {} old", times::duration(seconds)),
        }
    });
    text.push_str(&field("State", &format!("{}{took}", job.state())));
    text.push_str(&why(job));
    text.push_str(&field(
        "Engine",
        job.spec()["engine"].as_str().unwrap_or("native"),
    ));
    text.push_str(&field("Command", &command(job.spec())));
    if let Some(image) = job.spec()["image"].as_str() {
        text.push_str(&field("Image", image));
    }
    let retries = status.retries;
    let tried = match retries.application + retries.infrastructure {
        0 => String::new(),
        _ => format!(
            " ({} failed of the program, {} of what it ran on)",
            retries.application, retries.infrastructure
        ),
    };
    text.push_str(&field("Attempt", &format!("{}{tried}", status.attempt)));
    if let Some(address) = &status.scheduler_address {
        text.push_str(&field("Scheduler", address));
    }
    text
}

/// Why it is so, and what to do.
fn why(job: &Job) -> String {
    let failure = job.status.failure.as_ref();
    if let Some(failure) = failure {
        let reason = format!("{}: {}", failure.reason, failure.message);
        let before = if job.is_finished() {
            "Why"
        } else {
            "Last failure"
        };
        let mut text = field(before, &reason);
        if let Some(remedy) = remedy::of_failure(failure, job.name()) {
            text.push_str(&field("Remedy", &remedy));
        }
        return text;
    }
    if let Some((reason, message)) = job.waits_for() {
        let mut text = field("Waits for", &format!("{reason}: {message}"));
        if let Some(remedy) = remedy::of_wait(reason) {
            text.push_str(&field("Remedy", &remedy));
        }
        return text;
    }
    if !job.is_observed() && !job.is_finished() {
        return field("Why", "no operator has looked at it yet");
    }
    String::new()
}

fn command(spec: &Value) -> String {
    let words = |name: &str| {
        spec["job"][name]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    };
    let all: Vec<&str> = words("command").chain(words("args")).collect();
    match all.is_empty() {
        true => "none: an interactive cluster".to_owned(),
        false => all.join(" "),
    }
}

fn workers(status: &JobStatus) -> String {
    if status.workers.groups.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = status
        .workers
        .groups
        .iter()
        .map(|group| {
            let target = group
                .target
                .map_or_else(|| "-".to_owned(), |target| target.to_string());
            vec![
                group.name.clone(),
                group.desired.to_string(),
                group.ready.to_string(),
                group.lost.to_string(),
                target,
            ]
        })
        .collect();
    let headings = ["GROUP", "WANTED", "READY", "LOST", "ADAPTS TO"];
    format!("Workers:\n{}", columns::table("  ", &headings, &rows))
}

fn timeline(timeline: &Timeline) -> String {
    let steps = [
        ("attempt began", &timeline.created),
        ("scheduler answered", &timeline.scheduler_ready),
        ("first worker registered", &timeline.first_worker),
        ("all workers registered", &timeline.all_workers),
        ("program began", &timeline.runner_started),
        ("program ended", &timeline.finished),
    ];
    let mut steps: Vec<(&str, &Timestamp)> = steps
        .into_iter()
        .filter_map(|(step, at)| Some((step, at.as_ref()?)))
        .collect();
    steps.sort_by_key(|(_, at)| (*at).clone());
    let rows: Vec<Vec<String>> = steps
        .iter()
        .map(|(step, at)| {
            let after = times::between(timeline.created.as_ref(), Some(at));
            let after = after.map_or_else(String::new, |seconds| {
                format!("+{}", times::duration(seconds))
            });
            vec![(*step).to_owned(), after, at.as_str().to_owned()]
        })
        .collect();
    match rows.is_empty() {
        true => String::new(),
        false => format!(
            "Timeline:\n{}",
            columns::table("  ", &["STEP", "AFTER", "AT"], &rows)
        ),
    }
}

fn conditions(status: &JobStatus, now: u64) -> String {
    if status.conditions.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = status
        .conditions
        .iter()
        .map(|condition| {
            let word = match condition.status {
                ConditionStatus::True => "True",
                ConditionStatus::False => "False",
                ConditionStatus::Unknown => "Unknown",
            };
            let since = condition.last_transition_time.unix_seconds();
            vec![
                condition.type_.clone(),
                word.to_owned(),
                condition.reason.clone(),
                since.map_or_else(
                    || "-".to_owned(),
                    |since| times::duration(now.saturating_sub(since)),
                ),
                condition
                    .message
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
            ]
        })
        .collect();
    let headings = ["CONDITION", "IS", "REASON", "FOR", "MESSAGE"];
    format!("Conditions:\n{}", columns::table("  ", &headings, &rows))
}

fn pods_section(subject: &Subject<'_>) -> String {
    if subject.pods.is_empty() {
        return String::new();
    }
    let mut rows: Vec<Vec<String>> = subject
        .pods
        .iter()
        .map(|pod| pods::row(pod, subject.now))
        .collect();
    // What has a reason to be told comes first.
    rows.sort_by_key(|row| (row[4].is_empty(), row[0].clone()));
    let left_out = rows.len().saturating_sub(PODS_SHOWN);
    rows.truncate(PODS_SHOWN);
    let mut text = format!("Pods:\n{}", columns::table("  ", &pods::HEADINGS, &rows));
    if left_out > 0 {
        text.push_str(&format!("  and {left_out} more\n"));
    }
    text
}

fn log(job: &Job) -> String {
    let Some((failure, log)) = job
        .status
        .failure
        .as_ref()
        .and_then(|failure| Some((failure, failure.log.as_ref()?)))
    else {
        return String::new();
    };
    let whose = failure.pod.as_deref().unwrap_or(failure.role.as_str());
    let lines: String = log
        .trim_end()
        .lines()
        .map(|line| format!("  | {line}\n"))
        .collect();
    format!("End of the log of {whose}:\n{lines}")
}

/// When an event last happened.
fn time_of(event: &Event) -> Option<u64> {
    let series = event
        .series
        .as_ref()
        .and_then(|series| series.last_observed_time.as_ref());
    let micro = series.or(event.event_time.as_ref()).map(|time| time.0);
    let time = event.last_timestamp.as_ref().map(|time| time.0).or(micro)?;
    u64::try_from(time.as_second()).ok()
}

/// The pod that an event is about; nothing for one about the job.
fn whose(event: &Event) -> String {
    let about = &event.involved_object;
    match (about.kind.as_deref(), &about.name) {
        (Some("Pod"), Some(name)) => format!("{name}: "),
        (_, _) => String::new(),
    }
}

fn events(subject: &Subject<'_>) -> String {
    let mut events: Vec<&Event> = subject.events.iter().collect();
    events.sort_by_key(|event| time_of(event));
    let shown = &events[events.len().saturating_sub(EVENTS_SHOWN)..];
    if shown.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = shown
        .iter()
        .map(|event| {
            let count = event
                .series
                .as_ref()
                .and_then(|series| series.count)
                .or(event.count)
                .unwrap_or(1);
            let times_seen = if count > 1 {
                format!(" ({count} times)")
            } else {
                String::new()
            };
            let age = time_of(event).map_or_else(
                || "-".to_owned(),
                |at| times::duration(subject.now.saturating_sub(at)),
            );
            let message = event.message.clone().unwrap_or_default();
            vec![
                age,
                event.type_.clone().unwrap_or_default(),
                event.reason.clone().unwrap_or_default(),
                format!("{}{}{times_seen}", whose(event), message.replace('\n', " ")),
            ]
        })
        .collect();
    format!(
        "Events:\n{}",
        columns::table("  ", &["AGO", "TYPE", "REASON", "MESSAGE"], &rows)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::describe::pods::tests::{container, worker};
    use crate::job::tests::job;
    use serde_json::json;

    const NOON: u64 = 1_795_262_400;

    fn failed() -> Job {
        job(
            json!({"engine": "native", "image": "etl:1", "job": {"command": ["python", "main.py"], "args": ["-v"]}}),
            json!({
                "jobStatus": "Failed", "attempt": 1, "observedGeneration": 2,
                "workers": {"desired": 2, "ready": 1, "lost": 1, "groups": [{"name": "default", "desired": 2, "ready": 1, "lost": 1, "target": 2}]},
                "timeline": {"created": "2026-11-21T12:00:00Z", "runnerStarted": "2026-11-21T12:00:04Z", "schedulerReady": "2026-11-21T12:00:02Z"},
                "failure": {"role": "runner", "pod": "etl-1-runner", "class": "Application", "reason": "NonZeroExit", "message": "it ended with 3", "exitCode": 3, "log": "Traceback\nValueError: 1\n"},
                "conditions": [{"type": "Failed", "status": "True", "reason": "NonZeroExit", "message": "it ended with 3", "lastTransitionTime": "2026-11-21T12:01:00Z"}],
            }),
        )
    }

    #[test]
    fn a_failed_job_is_described_with_cause_remedy_log_pods_and_events() {
        let status = json!({"phase": "Pending", "containerStatuses": [container("worker", json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}}))]});
        let event = json!({
            "metadata": {}, "involvedObject": {"kind": "Pod", "name": "etl-1-runner"}, "type": "Warning", "reason": "BackOff", "message": "again\nand again",
            "lastTimestamp": "2026-11-21T12:00:30Z", "count": 3,
        });
        let job = failed();
        let pods = [
            worker("etl-1-worker-default-0", json!({"phase": "Running"})),
            worker("etl-1-worker-default-1", status),
        ];
        let events = [serde_json::from_value(event).unwrap()];
        let text = text_of(&Subject {
            job: &job,
            pods: &pods,
            events: &events,
            now: NOON + 90,
        });
        let expected = "\
Name:       etl
Namespace:  team
State:      Failed after 1m
Why:        NonZeroExit: it ended with 3
Remedy:     daskjob logs etl shows what the program wrote
Engine:     native
Command:    python main.py -v
Image:      etl:1
Attempt:    1

Workers:
  GROUP     WANTED   READY   LOST   ADAPTS TO
  default   2        1       1      2

Timeline:
  STEP                 AFTER   AT
  attempt began        +0s     2026-11-21T12:00:00Z
  scheduler answered   +2s     2026-11-21T12:00:02Z
  program began        +4s     2026-11-21T12:00:04Z

Conditions:
  CONDITION   IS     REASON        FOR   MESSAGE
  Failed      True   NonZeroExit   30s   it ended with 3

Pods:
  POD                      STATE          AGE     NODE     WHY
  etl-1-worker-default-1   ErrImagePull   1m30s   node-1   not found
  etl-1-worker-default-0   Running        1m30s   node-1

End of the log of etl-1-runner:
  | Traceback
  | ValueError: 1

Events:
  AGO   TYPE      REASON    MESSAGE
  1m    Warning   BackOff   etl-1-runner: again and again (3 times)
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_job_nobody_looked_at_says_so() {
        let new = job(json!({"job": {"command": ["x"]}}), json!({}));
        let text = text_of(&Subject {
            job: &new,
            pods: &[],
            events: &[],
            now: NOON + 5,
        });
        assert!(
            text.contains(
                "State:      Pending, 5s old\nWhy:        no operator has looked at it yet\n"
            ),
            "{text}"
        );
        assert!(!text.contains("Pods:") && !text.contains("Events:"));
    }

    #[test]
    fn many_pods_are_cut_and_the_telling_ones_stay() {
        let mut pods: Vec<Pod> = (0..40)
            .map(|number| worker(&format!("w{number:02}"), json!({"phase": "Running"})))
            .collect();
        pods.push(worker("z", json!({"phase": "Failed", "reason": "Evicted"})));
        let job = failed();
        let text = text_of(&Subject {
            job: &job,
            pods: &pods,
            events: &[],
            now: NOON,
        });
        assert!(
            text.contains("Evicted") && text.contains("and 11 more"),
            "{text}"
        );
    }
}
