/// Why the broker stopped serving.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The gRPC server failed.
    #[error("the gRPC server failed")]
    Serve(#[source] tonic::transport::Error),
    /// The listener's certificates do not serve.
    #[error(transparent)]
    Rpc(#[from] rpc::Error),
}
