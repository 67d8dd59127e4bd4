//! What codecs of pictures and of sound have in common.

/// What a codec library refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// It cannot be set up like that: change the configuration, or go without.
    #[error("the codec cannot be set up: {0}")]
    Setup(String),
    /// This picture or sound cannot be encoded: skip it.
    #[error("cannot encode: {0}")]
    Encode(String),
    /// The data is damaged: skip it, and for pictures ask for a key frame.
    #[error("cannot decode: {0}")]
    Decode(String),
    /// Nothing can be decoded before the next key frame: ask for one.
    #[error("cannot decode before the next key frame")]
    KeyFrameNeeded,
}
