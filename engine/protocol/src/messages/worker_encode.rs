//! How a worker's stream messages are written: fields and their order are those of stock workers.

use super::worker::{
    FromWorker, KeyEvent, LongRunning, StartStop, StealResponse, TaskErred, TaskFinished,
};
use crate::frames::Frames;
use crate::key::Key;
use crate::text::Text;
use crate::value::Value;
use crate::writer::MessageWriter;

/// One wire message with the whole batch.
pub fn encode_worker_batch(messages: &[FromWorker]) -> Frames {
    let mut out = MessageWriter::with_capacity(messages.len() * 256);
    out.write_array_len(messages.len());
    for message in messages {
        message.encode(&mut out);
    }
    out.finish()
}

impl FromWorker {
    /// Writes one message of a batch.
    pub fn encode(&self, out: &mut MessageWriter) {
        match self {
            Self::TaskFinished(task) => task_finished(task, out),
            Self::TaskErred(task) => task_erred(task, out),
            Self::ReleaseWorkerData(event) => {
                about_key(event, snippet!("release-worker-data"), out)
            }
            Self::Reschedule(event) => about_key(event, snippet!("reschedule"), out),
            Self::AddKeys(event) => {
                about_keys(&event.keys, snippet!("add-keys"), &event.stimulus_id, out);
            }
            Self::RequestRefreshWhoHas(event) => about_keys(
                &event.keys,
                snippet!("request-refresh-who-has"),
                &event.stimulus_id,
                out,
            ),
            Self::LongRunning(task) => long_running(task, out),
            Self::StealResponse(answer) => steal_response(answer, out),
            Self::WorkerStatusChange(change) => {
                out.write_map_len(3);
                operation(snippet!("worker-status-change"), out);
                text(snippet!("status"), &change.status, out);
                text(snippet!("stimulus_id"), &change.stimulus_id, out);
            }
            Self::LogEvent(event) => {
                out.write_map_len(3);
                operation(snippet!("log-event"), out);
                value(snippet!("topic"), &event.topic, out);
                value(snippet!("msg"), &event.msg, out);
            }
            Self::KeepAlive => {
                out.write_map_len(1);
                operation(snippet!("keep-alive"), out);
            }
            Self::CloseStream => {
                out.write_map_len(1);
                operation(snippet!("close-stream"), out);
            }
            Self::Other { message, .. } => out.write_value(message),
        }
    }
}

fn task_finished(task: &TaskFinished, out: &mut MessageWriter) {
    out.write_map_len(11);
    key(&task.key, out);
    run_id(task.run_id, out);
    out.write_raw(snippet!("nbytes"));
    match task.nbytes {
        Some(nbytes) => out.write_u64(nbytes),
        None => out.write_nil(),
    }
    out.write_raw(snippet!("type"));
    match &task.value_type {
        Some(pickle) => out.write_bin(pickle),
        None => out.write_nil(),
    }
    text(snippet!("typename"), &task.typename, out);
    out.write_raw(snippet!("metadata"));
    match &task.metadata {
        Value::Nil => out.write_map_len(0),
        metadata => out.write_value(metadata),
    }
    value(snippet!("thread"), &task.thread, out);
    startstops(&task.startstops, out);
    operation(snippet!("task-finished"), out);
    text(snippet!("stimulus_id"), &task.stimulus_id, out);
    out.write_raw(snippet!("status"));
    out.write_raw(snippet!("OK"));
}

fn task_erred(task: &TaskErred, out: &mut MessageWriter) {
    out.write_map_len(11);
    key(&task.key, out);
    run_id(task.run_id, out);
    value(snippet!("exception"), &task.exception, out);
    value(snippet!("traceback"), &task.traceback, out);
    text(snippet!("exception_text"), &task.exception_text, out);
    text(snippet!("traceback_text"), &task.traceback_text, out);
    value(snippet!("thread"), &task.thread, out);
    startstops(&task.startstops, out);
    operation(snippet!("task-erred"), out);
    text(snippet!("stimulus_id"), &task.stimulus_id, out);
    out.write_raw(snippet!("status"));
    out.write_raw(snippet!("error"));
}

fn long_running(task: &LongRunning, out: &mut MessageWriter) {
    out.write_map_len(5);
    key(&task.key, out);
    out.write_raw(snippet!("run_id"));
    match task.run_id {
        Some(run_id) => out.write_i64(run_id),
        None => out.write_nil(),
    }
    out.write_raw(snippet!("compute_duration"));
    match task.compute_duration {
        Some(seconds) => out.write_f64(seconds),
        None => out.write_nil(),
    }
    operation(snippet!("long-running"), out);
    text(snippet!("stimulus_id"), &task.stimulus_id, out);
}

fn steal_response(answer: &StealResponse, out: &mut MessageWriter) {
    out.write_map_len(4);
    key(&answer.key, out);
    out.write_raw(snippet!("state"));
    match &answer.state {
        Some(state) => out.write_str_bytes(state.as_bytes()),
        None => out.write_nil(),
    }
    operation(snippet!("steal-response"), out);
    text(snippet!("stimulus_id"), &answer.stimulus_id, out);
}

fn about_key(event: &KeyEvent, op: &[u8], out: &mut MessageWriter) {
    out.write_map_len(3);
    key(&event.key, out);
    operation(op, out);
    text(snippet!("stimulus_id"), &event.stimulus_id, out);
}

fn about_keys(keys: &[Key], op: &[u8], stimulus_id: &Text, out: &mut MessageWriter) {
    out.write_map_len(3);
    out.write_raw(snippet!("keys"));
    out.write_array_len(keys.len());
    keys.iter().for_each(|key| out.write_key(key));
    operation(op, out);
    text(snippet!("stimulus_id"), stimulus_id, out);
}

fn startstops(startstops: &[StartStop], out: &mut MessageWriter) {
    out.write_raw(snippet!("startstops"));
    out.write_array_len(startstops.len());
    for startstop in startstops {
        out.write_map_len(3 + usize::from(startstop.source.is_some()));
        text(snippet!("action"), &startstop.action.as_text(), out);
        out.write_raw(snippet!("start"));
        out.write_f64(startstop.start);
        out.write_raw(snippet!("stop"));
        out.write_f64(startstop.stop);
        if let Some(source) = &startstop.source {
            text(snippet!("source"), source, out);
        }
    }
}

fn operation(op: &[u8], out: &mut MessageWriter) {
    out.write_raw(snippet!("op"));
    out.write_raw(op);
}

fn key(key: &Key, out: &mut MessageWriter) {
    out.write_raw(snippet!("key"));
    out.write_key(key);
}

fn run_id(run_id: i64, out: &mut MessageWriter) {
    out.write_raw(snippet!("run_id"));
    out.write_i64(run_id);
}

fn text(name: &[u8], text: &Text, out: &mut MessageWriter) {
    out.write_raw(name);
    out.write_str_bytes(text.as_bytes());
}

fn value(name: &[u8], value: &Value, out: &mut MessageWriter) {
    out.write_raw(name);
    out.write_value(value);
}
