//! Holds golden/api.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use anyhow::{Context as _, Result, ensure};
use api::{FILE_DESCRIPTOR_SET, cloudapi, services, vizier, vizierpb};
use golden::Case;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};

fn pool() -> DescriptorPool {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap()
}

#[test]
fn every_field_has_its_published_name_number_and_type() {
    golden::run("api/schema", |case| case.expect("schema.txt", &schema(&pool())));
}

fn schema(pool: &DescriptorPool) -> String {
    let ours = |name: &str| name.starts_with("px.");
    let mut lines = Vec::new();
    for message in pool.all_messages().filter(|m| ours(m.full_name()) && !m.is_map_entry()) {
        lines.push(message.full_name().to_owned());
        for field in message.fields() {
            let label = if field.is_list() { "[]" } else { "" };
            lines.push(format!("{}.{}={}:{label}{:?}", message.full_name(), field.name(), field.number(), field.kind()));
        }
    }
    for message in pool.all_enums().filter(|e| ours(e.full_name())) {
        lines.extend(message.values().map(|value| format!("{} {}={}", message.full_name(), value.name(), value.number())));
    }
    for service in pool.services() {
        for method in service.methods() {
            let stream = |is: bool| if is { "stream " } else { "" };
            let input = format!("{}{}", stream(method.is_client_streaming()), method.input().full_name());
            let output = format!("{}{}", stream(method.is_server_streaming()), method.output().full_name());
            lines.push(format!("/{}/{} {input} -> {output}", service.full_name(), method.name()));
        }
    }
    lines.sort();
    lines.join("\n")
}

#[test]
fn messages_have_their_bytes() {
    let pool = pool();
    golden::run("api/messages", |case| message(case, &pool));
}

fn message(case: &Case, pool: &DescriptorPool) -> Result<()> {
    let text = case.input("message.txtpb")?;
    let name = text.lines().next().and_then(|line| line.strip_prefix("# ")).context("the first line names the type: # px.…")?;
    let descriptor = pool.get_message_by_name(name).with_context(|| format!("there is no message `{name}`"))?;
    let bytes = DynamicMessage::parse_text_format(descriptor, &text)?.encode_to_vec();
    let hex = |line: &[u8]| line.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    let lines: Vec<String> = bytes.chunks(32).map(hex).collect();
    case.expect("wire.hex", &lines.join("\n"))?;
    ensure!(rewritten(name, &bytes)? == bytes, "our type writes other bytes than it read");
    Ok(())
}

/// What our type makes of the bytes.
fn rewritten(name: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    fn through<M: Message + Default>(bytes: &[u8]) -> Result<Vec<u8>> {
        Ok(M::decode(bytes)?.encode_to_vec())
    }
    match name {
        "px.api.vizierpb.UInt128" => through::<vizierpb::UInt128>(bytes),
        "px.api.vizierpb.StringColumn" => through::<vizierpb::StringColumn>(bytes),
        "px.api.vizierpb.ExecuteScriptResponse" => through::<vizierpb::ExecuteScriptResponse>(bytes),
        "px.api.vizierpb.RowBatchData" => through::<vizierpb::RowBatchData>(bytes),
        "px.api.vizierpb.QueryData" => through::<vizierpb::QueryData>(bytes),
        "px.api.vizierpb.ExecuteScriptRequest" => through::<vizierpb::ExecuteScriptRequest>(bytes),
        "px.cloudapi.GetClusterInfoResponse" => through::<cloudapi::GetClusterInfoResponse>(bytes),
        "px.services.V2CBridgeMessage" => through::<services::V2cBridgeMessage>(bytes),
        "px.vizier.messages.VizierMessage" => through::<vizier::messages::VizierMessage>(bytes),
        _ => anyhow::bail!("add `{name}` to this match"),
    }
}
