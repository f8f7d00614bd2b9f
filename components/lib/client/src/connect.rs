use std::time::Duration;

use api::MESSAGE_BYTES_MAX;
use api::vizierpb::execute_script_request::{FuncToExecute, func_to_execute::ArgValue};
use api::vizierpb::vizier_debug_service_client::VizierDebugServiceClient;
use api::vizierpb::vizier_service_client::VizierServiceClient;
use api::vizierpb::{DebugLogRequest, DebugLogResponse, DebugPodsRequest, DebugPodsResponse, ExecuteScriptRequest};
use tonic::Streaming;
use tonic::codec::CompressionEncoding;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use crate::credentials::Shown;
use crate::{Access, Address, Error, Results};

/// A server that does not answer for this long is not there.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// A script to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    /// PxL.
    pub text: String,
    /// Functions to call; none: the script's own displays are the results.
    pub funcs: Vec<ScriptFunc>,
    /// For the server's logs.
    pub name: String,
    /// Id of the cluster to run on, for a control plane; empty where a Vizier is asked directly.
    pub cluster: String,
    /// Whether it may change what agents do: [`Script::changes`].
    pub mutation: bool,
}

impl Script {
    /// Whether a text looks as if it deployed tracepoints or set something; to say so of another one does no harm. Reference:
    /// `IsMutation`, src/pixie_cli/pkg/vizier/script.go.
    pub fn changes(text: &str) -> bool {
        text.contains("pxtrace") || text.contains("pxconfig")
    }
}

/// A call of one of a script's functions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScriptFunc {
    /// Its name.
    pub name: String,
    /// Names and values of its arguments.
    pub args: Vec<(String, String)>,
    /// Name of its table, or prefix of the names.
    pub output_prefix: String,
}

/// A channel that shows credentials with each call.
pub(crate) type Calls = InterceptedService<Channel, Shown>;

/// Connects to a server of ours.
pub(crate) async fn connect(address: &Address, access: &Access) -> Result<Calls, Error> {
    let (uri, tls) = address.uri(access.authority.is_some());
    let setup = |source| Error::Setup { address: address.clone(), source };
    let mut endpoint = Endpoint::from_shared(uri).map_err(setup)?.connect_timeout(CONNECT_MAX).tcp_nodelay(true);
    if tls {
        let ca = access.authority.as_ref().ok_or_else(|| Error::NoAuthority { address: address.clone() })?;
        endpoint = endpoint.tls_config(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca))).map_err(setup)?;
    }
    let channel = endpoint.connect().await.map_err(|source| Error::Connect { address: address.clone(), source })?;
    Ok(InterceptedService::new(channel, Shown::new(&access.credentials)?))
}

/// A connection to a Vizier, or to a control plane that passes calls on to one.
#[derive(Debug, Clone)]
pub struct Client {
    vizier: VizierServiceClient<Calls>,
    debug: VizierDebugServiceClient<Calls>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Nobody answers there, or TLS was asked for and fails.
    pub async fn connect(address: &Address, access: &Access) -> Result<Client, Error> {
        let calls = connect(address, access).await?;
        let vizier = VizierServiceClient::new(calls.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .accept_compressed(CompressionEncoding::Gzip);
        let debug = VizierDebugServiceClient::new(calls).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Client { vizier, debug })
    }

    /// Runs a script. To drop the results is to cancel it.
    ///
    /// # Errors
    /// The call is refused. What is wrong with the script itself is said by [`Results::next`].
    pub async fn execute(&mut self, script: Script) -> Result<Results, Error> {
        let exec_funcs = script.funcs.into_iter().map(|func| FuncToExecute {
            func_name: func.name,
            arg_values: func.args.into_iter().map(|(name, value)| ArgValue { name, value }).collect(),
            output_table_prefix: func.output_prefix,
        });
        let request = ExecuteScriptRequest {
            query_str: script.text,
            exec_funcs: exec_funcs.collect(),
            query_name: script.name,
            cluster_id: script.cluster,
            mutation: script.mutation,
            ..Default::default()
        };
        let messages = self.vizier.execute_script(request).await?.into_inner();
        Ok(Results::new(messages))
    }

    /// The log of one of a Vizier's own pods, in pieces.
    ///
    /// # Errors
    /// The call is refused.
    pub async fn debug_log(&mut self, request: DebugLogRequest) -> Result<Streaming<DebugLogResponse>, Error> {
        Ok(self.debug.debug_log(request).await?.into_inner())
    }

    /// A Vizier's own pods.
    ///
    /// # Errors
    /// The call is refused, or fails.
    pub async fn debug_pods(&mut self, cluster: &str) -> Result<DebugPodsResponse, Error> {
        let mut messages = self.debug.debug_pods(DebugPodsRequest { cluster_id: cluster.to_owned() }).await?.into_inner();
        let mut all = DebugPodsResponse::default();
        while let Some(message) = messages.message().await? {
            all.control_plane_pods.extend(message.control_plane_pods);
            all.data_plane_pods.extend(message.data_plane_pods);
        }
        Ok(all)
    }
}
