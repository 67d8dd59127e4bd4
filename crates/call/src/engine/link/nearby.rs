//! Rooms on the local network: looked for when the server has no such room or is silent, opened
//! when there is no server to open them on.

use ahoy_signaling::address::ServerAddress;
use ahoy_signaling::client::{
    ConnectOptions, Entry, Reconnect, SignalingClient, SignalingError, SignalingEvents,
};
use ahoy_signaling::discovery::FirstServerError;
use ahoy_signaling::embedded::EmbeddedServer;
use ahoy_signaling::message::ErrorCode;
use ahoy_signaling::room_code::RoomNumber;

use super::{Joined, LinkError, LinkRequest, Servers, enter_at};
use crate::view::Reach;

/// Enters a room at `server`, or at the server of this computer, or else on the local network.
pub(super) async fn enter(
    request: LinkRequest,
    servers: Servers,
    embedded: &EmbeddedServer,
) -> Result<(Joined, SignalingEvents), LinkError> {
    let server = servers.first.clone();
    if let LinkRequest::Reopen {
        number,
        share_on_network,
    } = request
    {
        return join_or_reopen(number, share_on_network, servers, embedded).await;
    }
    let first = enter_at(request, server.clone(), embedded);
    match (request, server) {
        (LinkRequest::Join { number }, _) => {
            let nearby = embedded.nearby();
            nearby
                .join(number, first, |address| join_at(number, address))
                .await
        }
        (
            LinkRequest::Create {
                share_on_network: true,
            },
            Some(server),
        ) => match first.await {
            Err(error) if error.is_silence() => open_instead(&server, embedded, error).await,
            result => result,
        },
        (LinkRequest::Create { .. } | LinkRequest::Reopen { .. }, _) => first.await,
    }
}

/// Enters the room of a former call, or opens it again with its number: where it was, or else on our
/// own server, since the computer that had it then may be gone.
async fn join_or_reopen(
    number: RoomNumber,
    share_on_network: bool,
    servers: Servers,
    embedded: &EmbeddedServer,
) -> Result<(Joined, SignalingEvents), LinkError> {
    let first = enter_at(
        LinkRequest::Join { number },
        servers.first.clone(),
        embedded,
    );
    let nearby = embedded.nearby();
    let joined = nearby.join(number, first, |address| join_at(number, address));
    let error = match joined.await {
        Err(error) if error.finds_nobody() => error,
        result => return result,
    };
    let request = LinkRequest::Reopen {
        number,
        share_on_network,
    };
    let mut places = vec![servers.first, servers.own];
    places.dedup();
    for place in places {
        match enter_at(request, place, embedded).await {
            // Somebody has begun another call under this number.
            Err(taken) if taken.is_taken() => return Err(taken),
            Err(error) => tracing::debug!(%error, "the room is not opened again there"),
            opened => return opened,
        }
    }
    Err(error)
}

/// Takes a seat at a computer of this network that says that it has the room.
async fn join_at(
    number: RoomNumber,
    address: ServerAddress,
) -> Result<(Joined, SignalingEvents), SignalingError> {
    let entry = Entry::Join { room: number };
    let options = ConnectOptions::default();
    let link =
        SignalingClient::connect_lasting(&address, entry, &options, Reconnect::default()).await?;
    let joined = Joined {
        seat: link.seat,
        sender: link.sender,
        reach: Reach::LocalNetwork,
        invite_server: address,
        instead_of: None,
        on_this_computer: false,
    };
    Ok((joined, link.events))
}

/// Opens a room that this network reaches, in the place of one on `server`, and says so. Where
/// nobody else could reach that either, the server's `error` stands.
async fn open_instead(
    server: &ServerAddress,
    embedded: &EmbeddedServer,
    error: LinkError,
) -> Result<(Joined, SignalingEvents), LinkError> {
    tracing::warn!(%error, "no room on the server: opening one on the local network");
    let request = LinkRequest::Create {
        share_on_network: true,
    };
    match enter_at(request, None, embedded).await {
        Ok((mut joined, events)) if joined.reach == Reach::LocalNetwork => {
            joined.instead_of = Some(server.host().to_owned());
            Ok((joined, events))
        }
        Ok(_) | Err(_) => Err(error),
    }
}

impl LinkError {
    /// The room is not there, or its server is not.
    const fn finds_nobody(&self) -> bool {
        self.is_silence() || matches!(self, Self::Signaling(SignalingError::UnknownRoom))
    }

    const fn is_taken(&self) -> bool {
        let Self::Signaling(SignalingError::Refused { code }) = self else {
            return false;
        };
        matches!(code, ErrorCode::NumberTaken)
    }

    /// Nothing came back from the server's address.
    const fn is_silence(&self) -> bool {
        matches!(
            self,
            Self::Signaling(SignalingError::Unreachable { .. } | SignalingError::Timeout)
        )
    }
}

impl FirstServerError for LinkError {
    fn has_room(&self) -> bool {
        match self {
            Self::Embedded(_) => false,
            Self::Signaling(error) => error.has_room(),
        }
    }
}
