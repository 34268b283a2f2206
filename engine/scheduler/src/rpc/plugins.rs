//! Plugins: kept for whoever joins later, and sent to whoever is there. What they hold is opaque here; scheduler
//! plugins live in the helpers.

use super::fields::Fields;
use super::{RpcError, broadcast};
use crate::context::Context;
use crate::plugins::Audience;
use protocol::{Value, map};
use std::sync::Arc;
use tracing::info;

pub async fn register_worker_plugin(ctx: &Arc<Context>, fields: Fields) -> Result<Value, RpcError> {
    register(ctx, fields, Audience::Workers).await
}

pub async fn register_nanny_plugin(ctx: &Arc<Context>, fields: Fields) -> Result<Value, RpcError> {
    register(ctx, fields, Audience::Nannies).await
}

pub async fn unregister_worker_plugin(
    ctx: &Arc<Context>,
    fields: Fields,
) -> Result<Value, RpcError> {
    unregister(ctx, fields, Audience::Workers).await
}

pub async fn unregister_nanny_plugin(
    ctx: &Arc<Context>,
    fields: Fields,
) -> Result<Value, RpcError> {
    unregister(ctx, fields, Audience::Nannies).await
}

async fn register(
    ctx: &Arc<Context>,
    mut fields: Fields,
    audience: Audience,
) -> Result<Value, RpcError> {
    let plugin = fields.bytes("plugin")?;
    let name = fields.text("name")?;
    let idempotent = fields.flag("idempotent", false);
    info!(plugin = %name, audience = ?audience, "plugin registered");
    if !ctx.plugins.register(audience, &name, &plugin, idempotent) {
        return Ok(map! {});
    }
    // Workers and nannies spell the operation differently.
    let (op, nanny) = match audience {
        Audience::Workers => ("plugin-add", false),
        Audience::Nannies => {
            ctx.plugins.all_nannies_started().await;
            ("plugin_add", true)
        }
    };
    let message = map! {"op" => op, "plugin" => plugin, "name" => name};
    broadcast::to_everyone(ctx, message, nanny).await
}

async fn unregister(
    ctx: &Arc<Context>,
    mut fields: Fields,
    audience: Audience,
) -> Result<Value, RpcError> {
    let name = fields.text("name")?;
    let (kind, op, nanny) = match audience {
        Audience::Workers => ("worker", "plugin-remove", false),
        Audience::Nannies => ("nanny", "plugin_remove", true),
    };
    if !ctx.plugins.unregister(audience, &name) {
        return Err(RpcError::value_error(format!(
            "The {kind} plugin {name} does not exist"
        )));
    }
    broadcast::to_everyone(ctx, map! {"op" => op, "name" => name}, nanny).await
}
