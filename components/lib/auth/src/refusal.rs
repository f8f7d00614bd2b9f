/// Why a token is not taken. Told apart in our log only: a caller hears one text for all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is none.
    #[error("there is no token")]
    Missing,
    /// Longer than any that we mint.
    #[error("a token of {bytes} bytes is too long")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not three parts of base64url, or a part is not the JSON that belongs there.
    #[error("the token is malformed: {what}")]
    Malformed {
        /// Which part.
        what: &'static str,
    },
    /// It names another algorithm, `none` among them.
    #[error("the token is signed by another algorithm than HS256")]
    Algorithm,
    /// Another key has signed it, or it was changed since.
    #[error("the token is forged, or signed with another key")]
    Forged,
    /// Its time is over.
    #[error("the token has expired {seconds} s ago")]
    Expired {
        /// How long ago.
        seconds: u64,
    },
    /// Its time has not come.
    #[error("the token is valid in {seconds} s only")]
    NotYetValid {
        /// How long that is.
        seconds: u64,
    },
    /// Meant for somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// It says neither service, nor cluster, nor user, or not which one.
    #[error("the token does not say whose it is")]
    Nobody,
    /// Good for one call, and used before.
    #[error("the token was used before")]
    Replayed,
    /// Whose it is may not call this.
    #[error("the token is of a kind that may not call this")]
    Kind,
}
