//! Where a message of the control plane goes. Pure.

use api::cvmsgspb::c2vapi_stream_request::Msg as Ask;
use api::cvmsgspb::{C2vMessage, C2vapiStreamRequest, UpdateOrInstallVizierRequest};
use api::services::C2vBridgeMessage;
use bus::subject::Topic;
use ids::ClusterId;
use prost::Message;
use prost_types::Any;

/// Topic of calls that are passed through.
pub(crate) const PASSTHROUGH: &str = "VizierPassthroughRequest";
const UPDATE: &str = "VizierUpdate";

/// What is to be done with a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Route {
    /// It is for somebody inside.
    Bus {
        /// Where they listen.
        topic: Topic,
        /// As they get it.
        message: C2vMessage,
    },
    /// A call for the broker, or something about one.
    Call {
        /// Which call.
        id: String,
        /// True: from now on it runs; false: it is cancelled.
        begins: Option<bool>,
        /// As the broker gets it.
        message: C2vMessage,
    },
    /// A call about pods, which we answer ourselves.
    Pods {
        /// Which call.
        id: String,
    },
    /// Another version is wanted.
    Update(UpdateOrInstallVizierRequest),
}

/// Where it goes.
///
/// # Errors
/// It is not what its topic says.
pub fn route(cluster: ClusterId, message: C2vBridgeMessage) -> Result<Route, String> {
    let C2vBridgeMessage { topic, msg } = message;
    match topic.as_str() {
        UPDATE => unpack("UpdateOrInstallVizierRequest", msg.as_ref()).map(Route::Update),
        PASSTHROUGH => {
            let request: C2vapiStreamRequest = unpack("C2VAPIStreamRequest", msg.as_ref())?;
            let message = C2vMessage { vizier_id: cluster.to_string(), msg };
            Ok(call(request, message))
        }
        _ => {
            let topic = Topic::new(&topic).map_err(|error| error.to_string())?;
            Ok(Route::Bus { topic, message: C2vMessage { vizier_id: cluster.to_string(), msg } })
        }
    }
}

fn call(request: C2vapiStreamRequest, message: C2vMessage) -> Route {
    let id = request.request_id;
    match request.msg {
        Some(Ask::DebugLogReq(_) | Ask::DebugPodsReq(_)) => Route::Pods { id },
        Some(Ask::ExecReq(_) | Ask::HcReq(_) | Ask::GenerateOtelScriptReq(_)) => Route::Call { id, begins: Some(true), message },
        Some(Ask::CancelReq(_)) => Route::Call { id, begins: Some(false), message },
        None => Route::Call { id, begins: None, message },
    }
}

/// What precedes the name of a message in an `Any`.
const TYPE_PREFIX: &str = "type.googleapis.com/";
const PACKAGE: &str = "px.cvmsgspb.";

/// A message and its name within `px.cvmsgspb`.
pub(crate) fn pack(name: &str, message: &impl Message) -> Any {
    pack_full(&format!("{PACKAGE}{name}"), message)
}

/// The same of any package.
pub(crate) fn pack_full(name: &str, message: &impl Message) -> Any {
    Any { type_url: format!("{TYPE_PREFIX}{name}"), value: message.encode_to_vec() }
}

/// The message, if it is that one.
pub(crate) fn unpack<M: Message + Default>(name: &str, any: Option<&Any>) -> Result<M, String> {
    let any = any.ok_or("there is no message")?;
    // The prefix differs between senders; the name does not.
    let full = any.type_url.rsplit('/').next().unwrap_or_default();
    if full.strip_prefix(PACKAGE) != Some(name) {
        return Err(format!("a message of type `{full}` where `{PACKAGE}{name}` belongs"));
    }
    M::decode(any.value.as_slice()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use api::cvmsgspb::C2vapiStreamCancel;
    use api::vizierpb::{DebugPodsRequest, ExecuteScriptRequest};

    use super::*;

    fn routed(topic: &str, any: Any) -> Result<Route, String> {
        route(ClusterId::from_halves(0, 7), C2vBridgeMessage { topic: topic.to_owned(), msg: Some(any) })
    }

    fn asked(msg: Option<Ask>) -> Result<Route, String> {
        routed(PASSTHROUGH, pack("C2VAPIStreamRequest", &C2vapiStreamRequest { request_id: "r".to_owned(), msg, ..Default::default() }))
    }

    #[test]
    fn calls_go_to_the_broker_but_for_those_about_pods() {
        for (ask, expected) in [
            (Some(Ask::ExecReq(ExecuteScriptRequest::default())), Some(true)),
            (Some(Ask::CancelReq(C2vapiStreamCancel {})), Some(false)),
            (None, None),
        ] {
            let Ok(Route::Call { id, begins, message }) = asked(ask) else { panic!("not a call") };
            assert_eq!((id.as_str(), begins, message.vizier_id.as_str()), ("r", expected, "00000000-0000-0000-0000-000000000007"));
        }
        assert_eq!(asked(Some(Ask::DebugPodsReq(DebugPodsRequest::default()))), Ok(Route::Pods { id: "r".to_owned() }));
    }

    #[test]
    fn other_topics_go_to_whoever_listens_and_no_subject_can_be_smuggled_in() {
        let any = pack("CronScriptUpdate", &api::cvmsgspb::CronScriptUpdate::default());
        let Ok(Route::Bus { topic, .. }) = routed("CronScriptsUpdates", any.clone()) else { panic!("not for the bus") };
        assert_eq!(topic.as_str(), "CronScriptsUpdates");
        assert!(routed("a b", any.clone()).is_err() && routed(">", any.clone()).is_err() && routed("", any).is_err());
    }

    #[test]
    fn what_is_not_what_its_topic_says_is_refused() {
        let wrong = pack("VizierHeartbeat", &api::cvmsgspb::VizierHeartbeat::default());
        assert!(routed(PASSTHROUGH, wrong.clone()).is_err() && routed("VizierUpdate", wrong).is_err());
    }
}
