//! A served broker and clients of its own making: compression, TLS, limits, going away, stopping.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use api::cloudapi::GetClusterInfoRequest;
use api::cloudapi::vizier_cluster_info_client::VizierClusterInfoClient;
use api::vizierpb::execute_script_request::EncryptionOptions;
use api::vizierpb::execute_script_response::Result as Body;
use api::vizierpb::vizier_service_client::VizierServiceClient;
use api::vizierpb::{ExecuteScriptRequest, HealthCheckRequest, RowBatchData, column::ColData};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::stream::{self, StreamExt as _};
use prost::Message as _;
use query_broker::{Broker, BrokerArgs, ENCRYPTED_BATCH_BYTES_MAX, ReattachArgs, serve};
use rpc::{CertificateAuthority, Security};
use rsa::traits::PublicKeyParts as _;
use support::{Alive, Answer, MemoryEngine, broker, kind, numbers, output, request, rows, texts};
use tables::DataType;
use tokio::task::JoinHandle;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request};

struct Served {
    address: std::net::SocketAddr,
    server: JoinHandle<Result<(), query_broker::Error>>,
}

async fn serving(broker: &Broker, security: Security) -> Served {
    let listener = rpc::bind("127.0.0.1:0".parse().unwrap(), &security).await.unwrap();
    let address = listener.address();
    #[allow(clippy::disallowed_methods, reason = "the test awaits it, or ends its runtime")]
    let server = tokio::spawn(serve(broker.clone(), listener, security));
    Served { address, server }
}

async fn connect(served: &Served) -> Channel {
    Endpoint::from_shared(format!("http://{}", served.address)).unwrap().connect().await.unwrap()
}

fn one_row() -> MemoryEngine {
    let answer = Answer::of(vec![output("a", &[("x", DataType::Int64)])], || vec![Ok(rows(0, vec![numbers(&[42])]))]);
    MemoryEngine::new().with("one", Ok(answer))
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_compress() {
    let served = serving(&broker(one_row()), Security::Plaintext).await;
    let channel = connect(&served).await;
    let plain = VizierServiceClient::new(channel.clone()).accept_compressed(CompressionEncoding::Gzip);
    let compressing = plain.clone().send_compressed(CompressionEncoding::Gzip);
    for (mut client, encoding) in [(plain, None), (compressing, Some("gzip"))] {
        let mut response = client.execute_script(request("one")).await.unwrap();
        assert_eq!(response.metadata().get("grpc-encoding").map(|v| v.to_str().unwrap()), encoding);
        let mut count = 0;
        while response.get_mut().message().await.unwrap().is_some() {
            count += 1;
        }
        assert_eq!(count, 4);
    }
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_refused() {
    let served = serving(&broker(one_row()), Security::Plaintext).await;
    let mut client = VizierServiceClient::new(connect(&served).await);
    let status = client.execute_script(request(&"x".repeat(api::MESSAGE_BYTES_MAX + 1))).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    assert!(client.execute_script(request("one")).await.is_ok(), "the connection lives on");
}

#[tokio::test]
async fn keys_and_tokens_are_taken_without_being_asked_for() {
    let served = serving(&broker(one_row()), Security::Plaintext).await;
    let mut request = Request::new(GetClusterInfoRequest::default());
    for (name, value) in [("pixie-api-key", "px-api-x"), ("authorization", "bearer x"), ("x-direct-vizier-key", "x")] {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    let clusters = VizierClusterInfoClient::new(connect(&served).await).get_cluster_info(request).await.unwrap().into_inner().clusters;
    assert_eq!(clusters.len(), 1);
}

#[tokio::test]
async fn with_tls_only_clients_that_trust_the_authority_get_in() {
    let state = tempfile::tempdir().unwrap();
    let authority = CertificateAuthority::open(state.path(), &[], SystemTime::now()).unwrap();
    let ca = authority.ca_pem().to_owned();
    let served = serving(&broker(one_row()), Security::Tls(Box::new(authority))).await;
    let endpoint = |ca: &str| {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
        Endpoint::from_shared(format!("https://{}", served.address)).unwrap().tls_config(tls).unwrap()
    };
    let mut client = VizierServiceClient::new(endpoint(&ca).connect().await.unwrap());
    assert!(client.execute_script(request("one")).await.is_ok());

    let other = tempfile::tempdir().unwrap();
    let stranger = CertificateAuthority::open(other.path(), &[], SystemTime::now()).unwrap();
    assert!(endpoint(stranger.ca_pem()).connect().await.is_err());
    let plain = Endpoint::from_shared(format!("http://{}", served.address)).unwrap().connect().await;
    let refused = match plain {
        Ok(channel) => VizierServiceClient::new(channel).execute_script(request("one")).await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
}

#[tokio::test]
async fn a_client_that_hangs_up_cancels_its_query() {
    let alive: Arc<AtomicUsize> = Arc::default();
    let counted = Arc::clone(&alive);
    let events = move || {
        let alive = Alive::new(&counted);
        stream::iter([Ok(rows(0, vec![numbers(&[1])]))])
            .chain(stream::pending())
            .inspect(move |_| {
                let _held = &alive;
            })
            .boxed()
    };
    let answer = Answer { outputs: vec![output("a", &[("x", DataType::Int64)])], explains: false, events: Arc::new(events) };
    let broker = broker(MemoryEngine::new().with("waits", Ok(answer)));
    let served = serving(&broker, Security::Plaintext).await;
    let mut client = VizierServiceClient::new(connect(&served).await);
    let mut messages = client.execute_script(request("waits")).await.unwrap().into_inner();
    assert!(messages.message().await.unwrap().is_some());
    assert!(messages.message().await.unwrap().is_some());
    assert_eq!(alive.load(Ordering::SeqCst), 1);
    drop(messages);
    while broker.queries_running() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_client_that_comes_back_gets_the_rest_and_nothing_twice() {
    let go: Arc<tokio::sync::Notify> = Arc::default();
    let waits = Arc::clone(&go);
    let events = move || {
        let waits = Arc::clone(&waits);
        let first = stream::iter([Ok(rows(0, vec![numbers(&[1, 2])]))]);
        let later = stream::once(async move {
            waits.notified().await;
            Ok(rows(0, vec![numbers(&[3])]))
        });
        first.chain(later).boxed()
    };
    let answer = Answer { outputs: vec![output("a", &[("x", DataType::Int64)])], explains: false, events: Arc::new(events) };
    let reattach = ReattachArgs { wait_max: std::time::Duration::from_mins(3), waiting_max: 4 };
    let args = BrokerArgs { reattach, ..BrokerArgs::default() };
    let broker = support::broker_with(args, MemoryEngine::new().with("waits", Ok(answer)));
    let served = serving(&broker, Security::Plaintext).await;
    let mut first = VizierServiceClient::new(connect(&served).await).execute_script(request("waits")).await.unwrap().into_inner();
    let id = first.message().await.unwrap().unwrap().query_id;
    assert_eq!(kind(&first.message().await.unwrap().unwrap()), "2 rows");
    drop(first);

    let attach = ExecuteScriptRequest { query_id: id.clone(), ..Default::default() };
    let mut second = VizierServiceClient::new(connect(&served).await).execute_script(attach.clone()).await.unwrap().into_inner();
    go.notify_one();
    let mut kinds = Vec::new();
    while let Some(message) = second.message().await.unwrap() {
        kinds.push(kind(&message));
    }
    assert_eq!(kinds, ["1 rows", "0 rows, end", "statistics"]);
    let status = VizierServiceClient::new(connect(&served).await).execute_script(attach).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::NotFound, format!("query {id} is not running: run the script again").as_str()));
}

#[tokio::test]
async fn a_stop_ends_calls_and_then_the_server() {
    let events = Arc::new(|| stream::pending().boxed());
    let answer = Answer { outputs: vec![output("a", &[("x", DataType::Int64)])], explains: false, events };
    let (stop, tasks) = (tokio_util::sync::CancellationToken::new(), tokio_util::task::TaskTracker::new());
    let broker = support::broker_of(MemoryEngine::new().with("waits", Ok(answer)), &stop, &tasks);
    let served = serving(&broker, Security::Plaintext).await;
    let channel = connect(&served).await;
    let mut query = VizierServiceClient::new(channel.clone()).execute_script(request("waits")).await.unwrap().into_inner();
    assert!(query.message().await.unwrap().is_some());
    let mut health = VizierServiceClient::new(channel).health_check(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert!(health.message().await.unwrap().is_some());
    stop.cancel();
    let status = query.message().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "this Vizier is stopping"));
    while health.message().await.unwrap().is_some() {}
    served.server.await.unwrap().unwrap();
    tasks.close();
    tasks.wait().await;
}

/// The inverse of JWE's compact serialisation, as RFC 7516 §5.2 has it.
fn open(sealed: &[u8], key: &rsa::RsaPrivateKey) -> Vec<u8> {
    use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
    let text = std::str::from_utf8(sealed).unwrap();
    let parts: Vec<&str> = text.split('.').collect();
    let [header, content_key, nonce, ciphertext, tag] = parts[..] else { panic!("{} parts", parts.len()) };
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    let header_text = String::from_utf8(decode(header)).unwrap();
    let content_key = key.decrypt(rsa::Oaep::new::<rsa::sha2::Sha256>(), &decode(content_key)).unwrap();
    let cipher = aes_gcm::Aes256Gcm::new_from_slice(&content_key).unwrap();
    let payload = Payload { msg: &[decode(ciphertext), decode(tag)].concat(), aad: header.as_bytes() };
    let plain = cipher.decrypt(aes_gcm::Nonce::from_slice(&decode(nonce)), payload).unwrap();
    if !header_text.contains("zip") {
        assert_eq!(header_text, r#"{"alg":"RSA-OAEP-256","enc":"A256GCM"}"#);
        return plain;
    }
    assert_eq!(header_text, r#"{"alg":"RSA-OAEP-256","enc":"A256GCM","zip":"DEF"}"#);
    let mut inflated = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::DeflateDecoder::new(&plain[..]), &mut inflated).unwrap();
    inflated
}

#[tokio::test]
async fn rows_can_be_encrypted_for_the_client_alone() {
    let text = "é".repeat(1000);
    let answer = Answer::of(vec![output("secret", &[("text", DataType::String)])], move || vec![Ok(rows(0, vec![texts(&[&*text; 700])]))]);
    let served = serving(&broker(MemoryEngine::new().with("secret", Ok(answer))), Security::Plaintext).await;
    let mut client = VizierServiceClient::new(connect(&served).await);
    let key = rsa::RsaPrivateKey::new(&mut rand::rngs::OsRng, 2048).unwrap();
    let number = |n: &rsa::BigUint| URL_SAFE_NO_PAD.encode(n.to_bytes_be());
    for compression in ["", "DEF"] {
        let options = EncryptionOptions {
            jwk_key: format!(r#"{{"kty":"RSA","n":"{}","e":"{}","ext":true}}"#, number(key.n()), number(key.e())),
            key_alg: "RSA-OAEP-256".to_owned(),
            content_alg: "A256GCM".to_owned(),
            compression_alg: compression.to_owned(),
        };
        let request = ExecuteScriptRequest { encryption_options: Some(options), ..request("secret") };
        let mut messages = client.execute_script(request).await.unwrap().into_inner();
        let (mut seen, mut ends, mut announced) = (0, 0, String::new());
        while let Some(message) = messages.message().await.unwrap() {
            match message.result {
                Some(Body::MetaData(table)) => announced = table.id,
                Some(Body::Data(data)) => {
                    assert!(data.batch.is_none());
                    if data.encrypted_batch.is_empty() {
                        assert!(data.execution_stats.is_some());
                        continue;
                    }
                    let plain = open(&data.encrypted_batch, &key);
                    assert!(plain.len() <= ENCRYPTED_BATCH_BYTES_MAX);
                    let batch = RowBatchData::decode(&plain[..]).unwrap();
                    assert_eq!(batch.table_id, announced);
                    let Some(ColData::StringData(column)) = &batch.cols[0].col_data else { panic!() };
                    assert!(column.data.iter().all(|value| value.len() == 2000));
                    seen += batch.num_rows;
                    ends += i32::from(batch.eos);
                }
                None => panic!(),
            }
        }
        assert_eq!((seen, ends), (700, 1));
    }
}
