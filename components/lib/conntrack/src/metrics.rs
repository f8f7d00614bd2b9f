use protocols::Counters;

macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// What a tracker saw, dropped, cut and lost. Each only grows.
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
        pub struct Metrics {
            $($(#[$doc])* pub $name: u64,)+
            /// Of the parsers.
            pub parsers: Counters,
        }

        impl Metrics {
            /// Name and value of each, in the order of declaration.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)+].into_iter().chain(self.parsers.iter())
            }
        }
    };
}

metrics! {
    /// Events handled.
    events,
    /// Connections opened or first seen.
    connections_opened,
    /// Connections closed.
    connections_closed,
    /// Connections that went on under a new identity after the kernel had forgotten them.
    connections_reopened,
    /// Connections whose close was not seen, but whose socket's address was used again.
    connections_replaced,
    /// Connections whose opening was not seen.
    openings_lost,
    /// Events of a connection that is gone already, or was never seen.
    events_stale,
    /// Connections forgotten because there were too many.
    connections_evicted,
    /// Connections whose unfinished messages were dropped because there was too much.
    buffers_evicted,
    /// Counters forgotten because there were too many.
    aggregates_evicted,
    /// Connections closed before any process was seen with them; they count nowhere.
    connections_without_process,
    /// Bytes that came twice.
    bytes_duplicate,
    /// Bytes whose call was seen, and which were not copied.
    bytes_not_copied,
    /// Bytes of which nothing was seen.
    bytes_lost,
    /// Holes of which nothing was seen.
    holes_lost,
    /// Pieces that came before what they follow.
    pieces_reordered,
    /// Received positions that were one too far, since a FIN counts too.
    positions_shifted,
    /// Connections whose protocol is none that is known.
    connections_undecided,
}
