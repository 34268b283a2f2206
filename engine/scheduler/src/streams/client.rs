//! A client's stream. Graphs are opened in helper processes while the stream goes on being read; what follows a graph
//! waits for it, because the client relies on the order of its own messages. Nobody else waits.

use super::{StreamEnd, run};
use crate::context::Context;
use crate::core_loop::{AddClient, GraphUnderWay, Input, Stopped};
use crate::graph::{GraphError, places};
use crate::mismatch;
use configuration::units::parse_timedelta;
use contract::distributed;
use protocol::messages::{FromClient, UpdateGraph, decode_client_batch};
use protocol::{Key, Value, map};
use scheduler_core::{ClientId, Graph, ToClient};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::{info, warn};
use transport::{FrameReader, FrameWriter, Outbox, outbox};

/// How many batches and graphs of one client may wait for a graph before its socket is read no further.
const WAITING_ITEMS: usize = 4096;

/// What may wait for a client that does not read, in bytes.
const OUTBOX_BYTES: usize = 256 << 20;

/// What a client's stream brought, in order.
enum Item {
    Messages(Vec<FromClient>),
    Graph {
        keys: Vec<Key>,
        graph: JoinHandle<Result<Graph, GraphError>>,
        under_way: GraphUnderWay,
    },
}

/// Registers the client and carries its stream until it ends. `request` holds the fields of `register-client`.
pub async fn serve(
    ctx: &Arc<Context>,
    request: Value,
    reader: &mut FrameReader,
    mut writer: FrameWriter,
) {
    let Some(id) = request.get("client").and_then(Value::as_str) else {
        warn!("client without an id refused");
        return;
    };
    let id: Arc<str> = Arc::from(id);
    let versions = request.get("versions").cloned().unwrap_or_default();
    if let Some(refusal) = mismatch::refusal(&versions, distributed::SUPPORTED) {
        warn!(client = %id, reason = refusal, "client refused");
        let start = map! {"op" => "stream-start", "warning" => "", "error" => refusal};
        // A client that is gone already needs no refusal.
        let _gone = writer.send_value(&Value::Array(vec![start])).await;
        return;
    }
    let (outbox, mut driver) = outbox(writer, OUTBOX_BYTES);
    let Ok(client) = add(ctx, &id, versions.detached(), outbox).await else {
        return;
    };
    info!(client = %id, "client connected");
    ctx.graphs
        .hook("add_client", true, map! {"client" => id.as_ref()});
    let end = match welcome(ctx, &versions, driver.writer()).await {
        Ok(()) => run(driver, read(ctx, &id, client, reader)).await,
        Err(end) => end,
    };
    info!(client = %id, reason = %end, "client disconnected");
    // Nothing is left to tell when the core has stopped.
    let _stopped = ctx.core.send(Input::ClientGone(client)).await;
    ctx.graphs
        .hook("remove_client", true, map! {"client" => id.as_ref()});
}

async fn add(
    ctx: &Context,
    id: &str,
    versions: Value,
    outbox: Outbox<ToClient>,
) -> Result<ClientId, Stopped> {
    let (answer, client) = oneshot::channel();
    let add = AddClient {
        id: id.to_owned(),
        versions,
        outbox,
        answer,
    };
    ctx.core.send(Input::AddClient(Box::new(add))).await?;
    client.await.map_err(|_| Stopped)
}

/// The first batch: exactly one message, before anything else.
async fn welcome(
    ctx: &Context,
    versions: &Value,
    writer: &mut FrameWriter,
) -> Result<(), StreamEnd> {
    let workers = ctx.core.call(|core, _, _| core.worker_versions()).await?;
    let ours = ctx.versions().await;
    let start = map! {
        "op" => "stream-start",
        "warning" => mismatch::warning(&ours, &workers, versions, "Client"),
        "error" => "",
    };
    writer.send_value(&Value::Array(vec![start])).await?;
    Ok(())
}

/// Reads the stream to its end and lets everything that came before the end take effect.
async fn read(
    ctx: &Arc<Context>,
    id: &Arc<str>,
    client: ClientId,
    reader: &mut FrameReader,
) -> Result<StreamEnd, StreamEnd> {
    let (items, waiting) = mpsc::channel(WAITING_ITEMS);
    let receive = async {
        let end = receive(ctx, id, reader, &items).await;
        // The applying side ends when nothing can come any more.
        drop(items);
        end
    };
    let (end, applied) = tokio::join!(receive, apply(ctx, client, waiting));
    applied?;
    end
}

async fn receive(
    ctx: &Arc<Context>,
    id: &Arc<str>,
    reader: &mut FrameReader,
    items: &mpsc::Sender<Item>,
) -> Result<StreamEnd, StreamEnd> {
    while let Some(frames) = reader.recv().await? {
        let mut messages = Vec::new();
        let mut closes = false;
        for message in decode_client_batch(&frames)? {
            match message {
                FromClient::UpdateGraph(update) => {
                    push(items, Item::Messages(std::mem::take(&mut messages))).await?;
                    let keys = update.keys.clone();
                    let graph = tokio::spawn(open(Arc::clone(ctx), Arc::clone(id), update));
                    let under_way = ctx.core.graph_under_way();
                    let item = Item::Graph {
                        keys,
                        graph,
                        under_way,
                    };
                    push(items, item).await?;
                }
                FromClient::CloseStream => closes = true,
                other => messages.push(other),
            }
        }
        push(items, Item::Messages(messages)).await?;
        if closes {
            break;
        }
    }
    Ok(StreamEnd::Closed)
}

/// Opens a graph and adds what its message says about when it runs.
async fn open(
    ctx: Arc<Context>,
    client: Arc<str>,
    update: Box<UpdateGraph>,
) -> Result<Graph, GraphError> {
    let mut graph = ctx.graphs.materialize(&client, &update).await?;
    places::resolve(&ctx, &mut graph).await?;
    graph.fifo_timeout_ns = match &update.fifo_timeout {
        Value::Str(text) => {
            let text = text.to_string_lossy();
            let seconds = parse_timedelta(&text).map_err(|error| {
                GraphError::builtin("ValueError", &format!("fifo_timeout {text:?}: {error}"))
            })?;
            (seconds * 1e9) as u64
        }
        other => (other.as_f64().unwrap_or(0.0) * 1e9) as u64,
    };
    graph.code = update.code.detached();
    graph.span_metadata = update.span_metadata.detached();
    Ok(graph)
}

async fn push(items: &mpsc::Sender<Item>, item: Item) -> Result<(), StreamEnd> {
    if matches!(&item, Item::Messages(messages) if messages.is_empty()) {
        return Ok(());
    }
    items
        .send(item)
        .await
        .map_err(|_| StreamEnd::Stopped(Stopped))
}

/// Hands items to the core in their order, waiting for each graph to be open.
async fn apply(
    ctx: &Context,
    client: ClientId,
    mut waiting: mpsc::Receiver<Item>,
) -> Result<(), Stopped> {
    while let Some(item) = waiting.recv().await {
        let (input, _until_handed_over) = match item {
            Item::Messages(messages) => (Input::ClientMessages(client, messages), None),
            Item::Graph {
                keys,
                graph,
                under_way,
            } => (opened(client, keys, graph).await, Some(under_way)),
        };
        ctx.core.send(input).await?;
    }
    Ok(())
}

/// Waits for a graph and says what became of it.
async fn opened(
    client: ClientId,
    keys: Vec<Key>,
    graph: JoinHandle<Result<Graph, GraphError>>,
) -> Input {
    let error = match graph.await {
        Ok(Ok(graph)) => return Input::Graph(client, Box::new(graph)),
        Ok(Err(error)) => error,
        Err(panicked) => GraphError::runtime(&format!(
            "the scheduler failed to open this graph: {panicked}"
        )),
    };
    Input::GraphFailed(client, keys, Box::new(error.to_task_error()))
}
