//! `get_logs`: what this program said of its workers and what Python said in one of them, newest first.
//!
//! Clients of stock ask the worker, not its nanny, why it paused or lost its tasks, so a worker has both in one list.

use crate::clock;
use crate::life::Life;
use protocol::messages::Request;
use protocol::{Frames, Value, array, decode_message, encode_value, map};
use std::time::Duration;
use telemetry::recent::{self, Record};

/// For a Python process that is busy; whoever asks may want to know just why it does not answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is asked for.
struct Wanted {
    start: f64,
    count: usize,
    timestamps: bool,
}

impl Wanted {
    fn of(request: &Request) -> Self {
        let argument = |name| request.argument(name);
        let count = argument("n").and_then(Value::as_u64);
        let count = count.filter(|count| *count > 0).unwrap_or(u64::MAX);
        Self {
            start: argument("start").and_then(Value::as_f64).unwrap_or(0.0),
            count: usize::try_from(count).unwrap_or(usize::MAX),
            timestamps: matches!(argument("timestamps"), Some(Value::Bool(true))),
        }
    }

    fn reply(&self, lines: Vec<Record>) -> Value {
        lines
            .into_iter()
            .take(self.count)
            .map(|line| match self.timestamps {
                true => array![line.seconds, line.level, line.message],
                false => array![line.level, line.message],
            })
            .collect()
    }
}

/// The newest lines of this program.
pub fn of_program(request: &Request) -> Value {
    let wanted = Wanted::of(request);
    let lines = of_this_process(&wanted);
    wanted.reply(lines)
}

/// The same together with those of the worker's Python process.
pub async fn of_worker(life: &Life, request: &Request) -> Value {
    let wanted = Wanted::of(request);
    let question = map! {
        "op" => "get_logs",
        "reply" => true,
        "start" => wanted.start,
        "n" => request.argument("n").cloned().unwrap_or(Value::Nil),
        "timestamps" => true,
    };
    let asked = life.ask_executor("get_logs".to_owned(), encode_value(&question));
    let of_python = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(answer)) => read(&answer),
        Ok(Err(_)) | Err(_) => None,
    };
    let of_python = of_python.unwrap_or_else(|| vec![silence()]);
    wanted.reply(merged(of_this_process(&wanted), of_python))
}

fn of_this_process(wanted: &Wanted) -> Vec<Record> {
    let lines = recent::newest().into_iter();
    lines
        .take_while(|line| line.seconds >= wanted.start)
        .collect()
}

fn silence() -> Record {
    Record {
        seconds: clock::now().seconds(),
        level: "WARNING",
        message: "the Python process does not answer; what it said is missing here".to_owned(),
    }
}

/// `[[seconds, level, message], …]`; none if it is anything else.
fn read(answer: &Frames) -> Option<Vec<Record>> {
    let answer = decode_message(answer).ok()?;
    let record = |line: &Value| {
        let [seconds, level, message] = line.as_array()? else {
            return None;
        };
        Some(Record {
            seconds: seconds.as_f64()?,
            level: level_name(level.as_str()?),
            message: message.as_str()?.to_owned(),
        })
    };
    answer.as_array()?.iter().map(record).collect()
}

fn level_name(name: &str) -> &'static str {
    match name {
        "DEBUG" => "DEBUG",
        "WARNING" => "WARNING",
        "ERROR" => "ERROR",
        "CRITICAL" => "CRITICAL",
        _ => "INFO",
    }
}

/// Both are in order, the newest first.
fn merged(ours: Vec<Record>, of_python: Vec<Record>) -> Vec<Record> {
    let mut all = [ours, of_python].concat();
    // Stable: lines of one moment keep the order in which they were said.
    all.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(seconds: f64, message: &str) -> Record {
        Record {
            seconds,
            level: "INFO",
            message: message.to_owned(),
        }
    }

    #[test]
    fn lines_of_both_are_one_list_with_the_newest_first() {
        let answer = encode_value(&array![
            array![4.0, "ERROR", "fourth"],
            array![2.0, "INFO", "second"]
        ]);
        let ours = vec![record(3.0, "third"), record(1.0, "first")];
        let all = merged(ours, read(&answer).unwrap());
        let reply = |count, timestamps| {
            let wanted = Wanted {
                start: 0.0,
                count,
                timestamps,
            };
            wanted.reply(all.clone())
        };
        let newest = array![array!["ERROR", "fourth"], array!["INFO", "third"]];
        assert_eq!(reply(2, false), newest);
        let timed = reply(9, true);
        let seconds = timed.as_array().unwrap().iter();
        let seconds = seconds.map(|line| line.as_array().unwrap()[0].as_f64().unwrap());
        assert_eq!(seconds.collect::<Vec<_>>(), [4.0, 3.0, 2.0, 1.0]);
    }

    #[test]
    fn an_answer_that_is_no_list_of_lines_is_none() {
        for nonsense in [map! {"status" => "error"}, array![array![1.0, "INFO"]]] {
            assert_eq!(read(&encode_value(&nonsense)), None);
        }
    }
}
