//! `cloud serve`: what listens, and what runs beside it.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use api::MESSAGE_BYTES_MAX;
use api::cloudapi::api_key_manager_server::ApiKeyManagerServer;
use api::cloudapi::auth_service_server::AuthServiceServer;
use api::cloudapi::organization_service_server::OrganizationServiceServer;
use api::cloudapi::vizier_cluster_info_server::VizierClusterInfoServer;
use api::cloudapi::vizier_deployment_key_manager_server::VizierDeploymentKeyManagerServer;
use api::cvmsgspb::cron_script_update::Msg as Update;
use api::cvmsgspb::{CronScriptUpdate, DeleteCronScriptRequest, RegisterOrUpdateCronScriptRequest};
use api::services::vz_conn_service_server::VzConnServiceServer;
use api::vizierpb::vizier_debug_service_server::VizierDebugServiceServer;
use api::vizierpb::vizier_service_server::VizierServiceServer;
use auth::Secret;
use rand::Rng as _;
use rpc::{CertificateAuthority, PeerIdentity, Security};
use service::{Check, Health, Shell};
use tokio::time::MissedTickBehavior;
use tonic::codec::CompressionEncoding::Gzip;

use crate::args::ServeArgs;
use crate::bridges::{Bridge, Bridges};
use crate::caller::Callers;
use crate::calls::Calls;
use crate::metrics::Metrics;
use crate::public_api::PublicApi;
use crate::store::{Change, Script, Store};
use crate::vzconn::{VzConn, change_id, message};
use crate::{Error, cron, wire};

/// Within the state folder.
const TLS_FOLDER: &str = "tls";
/// The same.
const SIGNING_KEY_FILE: &str = "jwt.key";
/// Bytes of that key, before they are written in hexadecimal.
const SIGNING_KEY_BYTES: usize = 64;

/// How often clusters are told what they do not know. A change that is lost on the way costs this much time.
const SCRIPTS_EVERY: Duration = Duration::from_secs(2);

pub(crate) async fn run(args: ServeArgs, shell: Shell) -> Result<(), Error> {
    let state = &args.base.state_dir;
    let store = Store::open(state).await?;
    let security = security(&args)?;
    let listener = rpc::bind(args.listen, &security).await?;
    let address = listener.address();
    let (health, exposed) = (Health::new(), service::Metrics::new());
    let metrics = Metrics::registered(&exposed);
    let callers = Callers::new(store.clone(), &signing_key(&state.join(SIGNING_KEY_FILE))?, metrics.clone());
    let bridges = Bridges::default();
    let calls = Calls::new(store.clone(), bridges.clone(), metrics.clone());
    let database = Database { check: health.ready("database"), health: health.clone() };
    args.http.start(&health, &exposed, &shell).await?;
    let api = PublicApi { store: store.clone(), callers: callers.clone(), bridges: bridges.clone(), calls };
    let vzconn = VzConn::new(store.clone(), callers, bridges.clone(), metrics, shell.clone());

    if let Some(path) = &args.ready_file {
        std::fs::write(path, format!("{address}\n")).map_err(|source| Error::File { action: "write", path: path.clone(), source })?;
    }
    tracing::info!(%address, "serving");
    shell.tasks.spawn(tell_scripts(store.clone(), bridges, shell.clone(), database));
    // Compressed calls are taken. Answers are not compressed: rows may be encrypted, and it would cost more time than it saves.
    macro_rules! limited {
        ($service:expr) => {
            $service.max_decoding_message_size(MESSAGE_BYTES_MAX).accept_compressed(Gzip)
        };
    }
    let served = rpc::server(&security)?
        .add_service(limited!(VizierServiceServer::new(api.clone())))
        .add_service(limited!(VizierDebugServiceServer::new(api.clone())))
        .add_service(limited!(VizierClusterInfoServer::new(api.clone())))
        .add_service(limited!(AuthServiceServer::new(api.clone())))
        .add_service(limited!(OrganizationServiceServer::new(api.clone())))
        .add_service(limited!(VizierDeploymentKeyManagerServer::new(api.clone())))
        .add_service(limited!(ApiKeyManagerServer::new(api)))
        .add_service(limited!(VzConnServiceServer::new(vzconn)))
        .serve_with_incoming_shutdown(listener.into_incoming(), shell.stop.cancelled())
        .await;
    store.close().await;
    served.map_err(Error::Serve)
}

fn security(args: &ServeArgs) -> Result<Security, Error> {
    match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => {
            let read =
                |path: &Path| std::fs::read_to_string(path).map_err(|source| Error::File { action: "read", path: path.to_owned(), source });
            let identity = PeerIdentity { certificate: read(certificate)?, key: read(key)?, ca: String::new() };
            Ok(Security::Shown(Box::new(identity)))
        }
        (Some(_), None) | (None, Some(_)) => Err(Error::HalfCertificate),
        (None, None) if args.tls => {
            let folder = args.base.state_dir.join(TLS_FOLDER);
            let authority = CertificateAuthority::open(&folder, &args.tls_names, SystemTime::now())?;
            tracing::info!(ca = %authority.ca_path().display(), "clients and clusters trust this authority");
            Ok(Security::Tls(Box::new(authority)))
        }
        (None, None) => Ok(Security::Plaintext),
    }
}

/// The key that signs our tokens, made on first start.
fn signing_key(path: &Path) -> Result<Secret, Error> {
    use std::io::{ErrorKind, Write as _};
    use std::os::unix::fs::OpenOptionsExt as _;
    let failed = |action: &'static str| move |source| Error::File { action, path: path.to_owned(), source };
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim_end().len() >= SIGNING_KEY_BYTES => return Ok(Secret::new(text.trim_end())),
        Ok(_) => return Err(Error::Content { what: "signing key: remove jwt.key to have a new one made" }),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed("read")(error)),
    }
    let mut bytes = [0; SIGNING_KEY_BYTES];
    rand::rngs::OsRng.fill(&mut bytes);
    let text = bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    // As a whole or not at all, and its owner's alone.
    let fresh = path.with_extension("new");
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh).map_err(failed("create"))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed("write"))?;
    std::fs::rename(&fresh, path).map_err(failed("make"))?;
    Ok(Secret::new(text))
}

/// Whether the database answers, for whoever watches us. A full disk is not mended by a restart.
struct Database {
    check: Check,
    health: Health,
}

impl Database {
    fn tell(&self, answered: Result<(), Error>) {
        match answered {
            Ok(()) => {
                self.check.ok();
                self.health.set_reason(None);
            }
            Err(error) => {
                self.check.failing(error);
                self.health.set_reason(Some("DatabaseFailed"));
            }
        }
    }
}

/// Tells connected clusters the changes of scripts that they have not said to know, again and again.
async fn tell_scripts(store: Store, bridges: Bridges, shell: Shell, database: Database) {
    let mut period = tokio::time::interval(SCRIPTS_EVERY);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shell.stop.cancelled() => return,
            _ = period.tick() => {}
        }
        // Also where no cluster is connected: whether the database answers is told to whoever watches us.
        database.tell(store.orgs().await.map(drop));
        for (org, bridge) in bridges.all() {
            let told = async {
                let scripts = store.scripts(org).await?;
                let known = store.deliveries(bridge.cluster).await?;
                for script in cron::unknown(&scripts, &known, bridge.cluster) {
                    tell(&bridge, script);
                }
                Ok::<(), Error>(())
            };
            if let Err(error) = told.await {
                tracing::error!(%error, cluster = %bridge.cluster, "a cluster cannot be told its scripts");
            }
        }
    }
}

fn tell(bridge: &Bridge, script: &Script) {
    let msg = if script.deleted {
        Update::DeleteReq(DeleteCronScriptRequest { script_id: Some(wire::id(script.id)) })
    } else {
        Update::UpsertReq(RegisterOrUpdateCronScriptRequest { script: Some(wire::cron_script(script)) })
    };
    let request_id = change_id(Change { script: script.id, changed: script.changed });
    let update = CronScriptUpdate { msg: Some(msg), request_id, timestamp: script.changed.0 };
    // Without room now, it is said next time.
    let _said = bridge.try_send(message("CronScriptsUpdates", "CronScriptUpdate", &update));
}
