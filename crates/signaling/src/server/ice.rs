//! Where the ICE servers come from that clients are told of.

use crate::message::IceServer;

/// ICE servers as they are handed out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IceServerList {
    /// At most eight, see [`crate::message::MAX_ICE_SERVERS`].
    pub servers: Vec<IceServer>,
    /// For how many seconds their credentials are good; `None`: for ever.
    pub lifetime: Option<u32>,
}

/// Knows the STUN and TURN servers, and makes credentials for them. Asked for each client that enters
/// a room; must not block.
pub trait IceServerSource: std::fmt::Debug + Send + Sync {
    /// The servers at this moment, with credentials of their own for whoever gets them.
    fn issue(&self) -> IceServerList;
}

/// None.
impl IceServerSource for () {
    fn issue(&self) -> IceServerList {
        IceServerList::default()
    }
}
