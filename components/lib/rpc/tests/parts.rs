//! Parts of one Vizier among each other.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use clap::Parser;
use rpc::{Part, TlsArgs, kubernetes_names, provision};
use tonic::body::Body;
use tonic::service::Routes;
use tower::Service as _;

#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    tls: TlsArgs,
}

fn part(name: &str, names: &[&str]) -> Part {
    Part { name: name.to_owned(), names: names.iter().map(|name| (*name).to_owned()).collect() }
}

/// The arguments of a part whose files lie in `folder`.
fn arguments(folder: &Path, name: &str) -> TlsArgs {
    let file = |file: &str| folder.join(file).to_str().unwrap().to_owned();
    let (ca, certificate, key) = (file("ca.crt"), file(&format!("{name}.crt")), file(&format!("{name}.key")));
    Arguments::parse_from(["x", "--tls-ca-cert", &ca, "--tls-cert", &certificate, "--tls-key", &key]).tls
}

/// A server of that part without services: whoever may speak to it hears that the method is unknown. Ends with the test.
async fn serve(tls: &TlsArgs) -> SocketAddr {
    let security = tls.security().unwrap();
    let listener = rpc::bind("127.0.0.1:0".parse().unwrap(), &security).await.unwrap();
    let address = listener.address();
    let server = rpc::server(&security).unwrap().add_routes(Routes::default());
    tokio::spawn(server.serve_with_incoming(listener.into_incoming()));
    address
}

/// The gRPC status of a call, or that there was no answer.
async fn call(address: SocketAddr, server_name: &str, tls: &TlsArgs) -> Result<String, ()> {
    let mut channel = rpc::channel(&address.to_string(), server_name, &tls.identity().unwrap()).unwrap();
    std::future::poll_fn(|cx| channel.poll_ready(cx)).await.map_err(drop)?;
    let request = http::Request::post("/px.Nothing/Call").header("content-type", "application/grpc").body(Body::empty()).unwrap();
    let response = channel.call(request).await.map_err(drop)?;
    Ok(response.headers().get("grpc-status").unwrap().to_str().unwrap().to_owned())
}

#[tokio::test]
async fn parts_with_certificates_of_one_authority_speak_to_each_other_and_to_nobody_else() {
    let (ours, others) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let parts = [part("metadata", &["metadata.example"]), part("pem", &[])];
    for folder in [&ours, &others] {
        provision(folder.path(), &parts, SystemTime::now()).unwrap();
    }
    let address = serve(&arguments(ours.path(), "metadata")).await;
    assert_eq!(call(address, "metadata.example", &arguments(ours.path(), "pem")).await, Ok("12".to_owned()));
    assert_eq!(call(address, "broker.example", &arguments(ours.path(), "pem")).await, Err(()));
    assert_eq!(call(address, "metadata.example", &arguments(others.path(), "pem")).await, Err(()));
    // Trusts ours, and shows a stranger's.
    let mut mixed = arguments(others.path(), "pem");
    mixed.tls_ca_cert = ours.path().join("ca.crt");
    assert_eq!(call(address, "metadata.example", &mixed).await, Err(()));
}

#[test]
fn what_is_there_stays_and_what_lacks_a_name_or_time_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let made = |names: &[&str], now| {
        provision(folder.path(), &[part("broker", names), part("pem", &[])], now)
            .unwrap()
            .iter()
            .map(|files| files.made)
            .collect::<Vec<_>>()
    };
    assert_eq!(made(&["10.0.0.1"], now), [true, true]);
    assert_eq!(made(&["10.0.0.1"], now), [false, false]);
    assert_eq!(made(&["10.0.0.1", "broker.example"], now), [true, false]);
    assert_eq!(made(&["10.0.0.1", "broker.example"], now + Duration::from_hours(380 * 24)), [true, true]);
    for name in ["", "ca", "../x", "a b"] {
        assert!(provision(folder.path(), &[part(name, &[])], now).unwrap_err().to_string().contains("cannot be the name of a part"));
    }
}

#[test]
fn the_names_of_a_namespace_are_those_of_the_original() {
    let wanted = [
        "*.pl.svc",
        "*.pl.svc.cluster.local",
        "*.pl.pod.cluster.local",
        "*.pl-etcd.pl.svc",
        "*.pl-etcd.pl.svc.cluster.local",
        "pl-nats",
        "pl-etcd",
    ];
    assert_eq!(kubernetes_names("pl"), wanted);
}
