//! The life of one process for functions: started, served, ended, and stopped when user code keeps its only thread.

use super::super::channel::{Kind, Message, MessageReader};
use super::super::error::GraphError;
use super::super::launch::{Launched, launch, write_out};
use super::super::process::{Mode, exit_text};
use super::super::{Shared, closing, malformed, reply, request};
use bytes::Bytes;
use protocol::{Value, encode_value};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::mpsc;

/// The life of one process.
pub async fn live(shared: Arc<Shared>, pieces: mpsc::UnboundedReceiver<Vec<Bytes>>) {
    let (reason, has_worked) = match run(&shared, pieces).await {
        Ok(reason) => (reason, true),
        Err(reason) => (reason, false),
    };
    if !*shared.closed.borrow() {
        tracing::warn!(
            reason,
            "the helper for functions and plugins of the scheduler is gone"
        );
    }
    shared.functions.lost(&shared, &reason, has_worked);
}

/// Says why the process ended; an error means that it never worked.
async fn run(
    shared: &Arc<Shared>,
    pieces: mpsc::UnboundedReceiver<Vec<Bytes>>,
) -> Result<String, String> {
    let Launched {
        mut child,
        mut reader,
        write,
        lifeline,
        ..
    } = launch(
        &shared.options,
        Mode::Functions,
        shared.closed.subscribe(),
        |_| (),
    )
    .await?;
    let writer = tokio::spawn(write_out(write, pieces));
    let mut closed = shared.closed.subscribe();
    let ended = tokio::select! {
        ended = serve(shared, &mut reader) => ended,
        limit = stalled(shared) => return Ok(stall(limit)),
        _ = closed.wait_for(|closed| *closed) => "the scheduler is closing".to_owned(),
    };
    drop(lifeline);
    writer.abort();
    Ok(format!(
        "The Python process that runs functions and plugins in the scheduler ended{}: {ended}",
        exit_text(&mut child).await
    ))
}

/// Completes when a request has not been begun with for too long: user code keeps the only thread.
async fn stalled(shared: &Arc<Shared>) -> Duration {
    let functions = &shared.functions;
    loop {
        let Some((oldest, is_open)) = functions.oldest_unread() else {
            functions.asked.notified().await;
            continue;
        };
        let limit = match is_open {
            true => shared.options.hold_limit,
            false => shared.options.start_limit,
        };
        tokio::select! {
            () = tokio::time::sleep(limit) => {
                if functions.oldest_unread().is_some_and(|(still, _)| still == oldest) {
                    return limit;
                }
            }
            () = functions.opened.notified() => {}
        }
    }
}

fn stall(limit: Duration) -> String {
    format!(
        "The Python process that runs functions and plugins in the scheduler was stopped: a function, plugin or preloaded \
         module kept its thread for longer than {limit:?} while another request waited. What takes long belongs into a \
         task, or into a coroutine that awaits"
    )
}

/// Reads until the process ends; says why.
async fn serve(shared: &Arc<Shared>, reader: &mut MessageReader<OwnedReadHalf>) -> String {
    loop {
        let message = match reader.next().await {
            Ok(Some(message)) => message,
            Ok(None) => return "it closed its channel".to_owned(),
            Err(error) => return error.to_string(),
        };
        match message.kind {
            Kind::Value => shared.functions.finish(message.request, Ok(message.blobs)),
            Kind::Error => {
                let error = reply::error(&message).unwrap_or_else(|error| malformed(&error));
                shared.functions.finish(message.request, Err(error));
            }
            Kind::Taken => shared.functions.taken(message.request),
            Kind::Query => drop(tokio::spawn(answer(shared.clone(), message))),
            other => return format!("it sent a message of kind {other:?}"),
        }
    }
}

/// Answers a question of user code.
async fn answer(shared: Arc<Shared>, message: Message) {
    let request = message.request;
    let result = match question(message) {
        Ok((op, arguments)) if op == "upload_file_to_helpers" => upload(&shared, &arguments).await,
        Ok((op, arguments)) => {
            let backdoor = shared.functions.lock().backdoor.clone();
            match backdoor {
                Some(backdoor) => backdoor.ask(op, arguments).await,
                None => Err(closing()),
            }
        }
        Err(error) => Err(error),
    };
    let (ok, blobs) = match result {
        Ok(value) => (true, encode_value(&value).0),
        Err(error) => (false, vec![error.exception]),
    };
    shared.functions.send_answer(
        request,
        &request::header(&[("ok", &Value::from(ok))]),
        &blobs,
    );
}

fn question(message: Message) -> Result<(String, Value), GraphError> {
    let header = reply::header(&message.header).map_err(|error| malformed(&error))?;
    let op = header
        .get("op")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let arguments = reply::value(message.blobs).map_err(|error| malformed(&error))?;
    Ok((op, arguments))
}

async fn upload(shared: &Arc<Shared>, arguments: &Value) -> Result<Value, GraphError> {
    let field = |name| {
        arguments
            .get(name)
            .ok_or_else(|| malformed(&"an upload without file"))
    };
    let name = field("filename")?.as_str().unwrap_or_default();
    let data = field("data")?.as_bytes().cloned().unwrap_or_default();
    let load = field("load")?.is_truthy();
    shared
        .upload_file(name, Bytes::copy_from_slice(&data), load)
        .await?;
    Ok(Value::Nil)
}
