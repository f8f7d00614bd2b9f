//! What travels, packed into `Any` as the control plane does it.

use api::cvmsgspb::{C2vMessage, C2vapiStreamRequest, V2cMessage, V2capiStreamResponse};
use prost::Message;
use prost_types::Any;

const TYPE_PREFIX: &str = "type.googleapis.com/px.cvmsgspb.";

/// A message for the control plane.
pub(crate) fn v2c(vizier_id: &str, name: &str, message: &impl Message) -> V2cMessage {
    let msg = Any { type_url: format!("{TYPE_PREFIX}{name}"), value: message.encode_to_vec() };
    V2cMessage { vizier_id: vizier_id.to_owned(), msg: Some(msg), ..Default::default() }
}

pub(crate) fn answer(vizier_id: &str, response: &V2capiStreamResponse) -> V2cMessage {
    v2c(vizier_id, "V2CAPIStreamResponse", response)
}

pub(crate) fn request(message: &C2vMessage) -> Result<C2vapiStreamRequest, String> {
    c2v("C2VAPIStreamRequest", message)
}

/// What a message of the control plane holds, if it is that.
pub(crate) fn c2v<M: Message + Default>(name: &str, message: &C2vMessage) -> Result<M, String> {
    let any = message.msg.as_ref().ok_or("it is empty")?;
    // The prefix differs between senders; the name does not.
    let full = any.type_url.rsplit('/').next().unwrap_or_default();
    if full.strip_prefix("px.cvmsgspb.") != Some(name) {
        return Err(format!("it holds `{full}` where `px.cvmsgspb.{name}` belongs"));
    }
    M::decode(any.value.as_slice()).map_err(|error| error.to_string())
}
