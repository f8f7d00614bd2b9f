use std::time::Duration;

use api::MESSAGE_BYTES_MAX;
use api::vizierpb::ExecuteScriptRequest;
use api::vizierpb::execute_script_request::{FuncToExecute, func_to_execute::ArgValue};
use api::vizierpb::vizier_service_client::VizierServiceClient;
use tonic::Request;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use crate::{Address, Error, Results};

/// A server that does not answer for this long is not there.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Which client this is, for the server's statistics.
const CLIENT_HEADER: &str = "pixie-api-client";

/// A script to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    /// PxL.
    pub text: String,
    /// Functions to call; none: the script's own displays are the results.
    pub funcs: Vec<ScriptFunc>,
    /// For the server's logs.
    pub name: String,
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

/// A connection to a Vizier.
#[derive(Debug, Clone)]
pub struct Client {
    vizier: VizierServiceClient<Channel>,
}

impl Client {
    /// Connects. `ca_pem`: who has signed the server's certificate; with it TLS is used unless the address says `http://`.
    ///
    /// # Errors
    /// Nobody answers there, or TLS was asked for and fails.
    pub async fn connect(address: &Address, ca_pem: Option<&[u8]>) -> Result<Client, Error> {
        let (uri, tls) = address.uri(ca_pem.is_some());
        let setup = |source| Error::Setup { address: address.clone(), source };
        let mut endpoint = Endpoint::from_shared(uri).map_err(setup)?.connect_timeout(CONNECT_MAX);
        if tls {
            let ca = ca_pem.ok_or_else(|| Error::NoAuthority { address: address.clone() })?;
            let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
            endpoint = endpoint.tls_config(config).map_err(setup)?;
        }
        let channel = endpoint.connect().await.map_err(|source| Error::Connect { address: address.clone(), source })?;
        let vizier =
            VizierServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX).accept_compressed(CompressionEncoding::Gzip);
        Ok(Client { vizier })
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
        let mut request = Request::new(ExecuteScriptRequest {
            query_str: script.text,
            exec_funcs: exec_funcs.collect(),
            query_name: script.name,
            ..Default::default()
        });
        request.metadata_mut().insert(CLIENT_HEADER, MetadataValue::from_static("rust"));
        let messages = self.vizier.execute_script(request).await?.into_inner();
        Ok(Results::new(messages))
    }
}
