//! The order in which the first server and the network are asked for a room. Free of sockets: what
//! it waits for is given to it.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use super::FirstServerError;
use crate::address::ServerAddress;
use crate::client::SignalingError;

/// Most servers answer within this, and then nothing is sent to the network: looking for a room
/// there tells it that somebody uses Ahoy.
const HEAD_START: Duration = Duration::from_millis(500);
/// A server that has said nothing for this long gives way to one on the network. Not earlier: the
/// same number may be another room's there.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the network is searched. Answers take up to 1.1 s (RFC 6762 section 5.2 lets queries
/// wait, section 6 answers), and a server that has just begun takes 0.75 s to be announced.
const SEARCH: Duration = Duration::from_millis(2_500);
/// How long one address may take. On a local network a live one answers within milliseconds.
const TRY: Duration = Duration::from_secs(1);

/// Addresses of servers on the network that say that they have the room.
pub(super) trait Search {
    /// The next one, as they are found; for ever when there are no more.
    fn next(&mut self) -> impl Future<Output = ServerAddress> + Send;
}

/// See [`super::NearbyServers::join`]. `search` begins to look; `None` when that is not possible.
pub(super) async fn join<T, E, S, Enter, Entering>(
    first: impl Future<Output = Result<T, E>>,
    search: impl FnOnce() -> Option<S>,
    enter: Enter,
) -> Result<T, E>
where
    E: From<SignalingError> + FirstServerError,
    S: Search,
    Enter: FnMut(ServerAddress) -> Entering,
    Entering: Future<Output = Result<T, SignalingError>>,
{
    let began = Instant::now();
    let mut first = pin!(first);
    let mut refusal = match timeout(HEAD_START, first.as_mut()).await {
        Ok(Ok(seat)) => return Ok(seat),
        Ok(Err(error)) if error.has_room() => return Err(error),
        Ok(Err(error)) => Some(error),
        Err(_) => None,
    };
    let Some(search) = search() else {
        return match refusal {
            Some(error) => Err(error),
            None => first.await,
        };
    };
    let (may_enter, full) = (Notify::new(), AtomicBool::new(false));
    if refusal.is_some() {
        may_enter.notify_one();
    }
    let end = Instant::now() + SEARCH;
    // One future to the end: a seat that is being taken is not given up for another.
    let mut nearby = Box::pin(async {
        tokio::select! {
            () = may_enter.notified() => {}
            () = sleep_until(began + PATIENCE) => {}
        }
        enter_nearby(search, enter, &full).await
    });
    loop {
        tokio::select! {
            biased;
            answer = first.as_mut(), if refusal.is_none() => match answer {
                Ok(seat) => return Ok(seat),
                Err(error) if error.has_room() => return Err(error),
                Err(error) => {
                    refusal = Some(error);
                    may_enter.notify_one();
                }
            },
            seat = nearby.as_mut() => return Ok(seat),
            () = sleep_until(end) => break,
        }
    }
    drop(nearby); // The search ends here, also where the first server is still waited for.
    match refusal {
        Some(_) if full.into_inner() => Err(SignalingError::RoomFull.into()),
        Some(error) => Err(error),
        None => first.await,
    }
}

/// Tries one server on the network after the other until one lets us in. `full` is set when one of
/// them has the room and no seat in it.
async fn enter_nearby<T, S, Enter, Entering>(
    mut search: S,
    mut enter: Enter,
    full: &AtomicBool,
) -> T
where
    S: Search,
    Enter: FnMut(ServerAddress) -> Entering,
    Entering: Future<Output = Result<T, SignalingError>>,
{
    loop {
        let address = search.next().await;
        match timeout(TRY, enter(address)).await {
            Ok(Ok(seat)) => return seat,
            Ok(Err(SignalingError::RoomFull)) => full.store(true, Ordering::Relaxed),
            Ok(Err(error)) => tracing::debug!(%error, "a server on the network was no help"),
            Err(_) => tracing::debug!("a server on the network does not answer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::VecDeque;

    use tokio::time::sleep;

    use super::*;

    /// Servers on the network that are found so many ms after the search began.
    struct Found {
        began: Instant,
        servers: VecDeque<(u64, &'static str)>,
    }

    impl Search for Found {
        async fn next(&mut self) -> ServerAddress {
            let Some((at, address)) = self.servers.front().copied() else {
                return std::future::pending().await;
            };
            sleep_until(self.began + Duration::from_millis(at)).await;
            self.servers.pop_front();
            address.parse().expect("an address")
        }
    }

    /// What happened: the result, after how many ms, and whether the network was asked.
    #[derive(Debug, PartialEq)]
    struct Outcome {
        result: Result<String, SignalingError>,
        after: u64,
        searched: bool,
        tried: Vec<String>,
    }

    async fn run(
        first: (u64, Result<&str, SignalingError>),
        servers: &[(u64, &'static str)],
        mut answer: impl FnMut(&str) -> (u64, Result<(), SignalingError>),
    ) -> Outcome {
        let began = Instant::now();
        let searched = Cell::new(false);
        let tried = RefCell::new(Vec::new());
        let (after, first) = first;
        let first = async {
            sleep(Duration::from_millis(after)).await;
            first.map(str::to_owned)
        };
        let search = || {
            searched.set(true);
            Some(Found {
                began: Instant::now(),
                servers: servers.iter().copied().collect(),
            })
        };
        let result = join(first, search, |address: ServerAddress| {
            let host = address.host().to_owned();
            tried.borrow_mut().push(host.clone());
            let (after, answer) = answer(&host);
            async move {
                sleep(Duration::from_millis(after)).await;
                answer.map(|()| host)
            }
        })
        .await;
        Outcome {
            result,
            after: u64::try_from(began.elapsed().as_millis()).expect("short"),
            searched: searched.get(),
            tried: tried.into_inner(),
        }
    }

    fn outcome(result: Result<&str, SignalingError>, after: u64, tried: &[&str]) -> Outcome {
        Outcome {
            result: result.map(str::to_owned),
            after,
            searched: true,
            tried: tried.iter().map(|host| (*host).to_owned()).collect(),
        }
    }

    const NEAR: &[(u64, &str)] = &[(100, "ws://10.0.0.7:24642")];
    const LET_IN: fn(&str) -> (u64, Result<(), SignalingError>) = |_| (5, Ok(()));

    fn unreachable() -> SignalingError {
        SignalingError::Unreachable {
            detail: String::new(),
            refused: true,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_answers_soon_is_all_that_is_asked() {
        for (first, expected) in [
            (Ok("server"), Ok("server".to_owned())),
            (Err(SignalingError::RoomFull), Err(SignalingError::RoomFull)),
        ] {
            let outcome = run((490, first), NEAR, LET_IN).await;
            assert_eq!(
                outcome,
                Outcome {
                    result: expected,
                    after: 490,
                    searched: false,
                    tried: Vec::new()
                }
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_server_is_not_slower_and_comes_first() {
        for after in [600, 1_900, 2_000] {
            let done = run((after, Ok("server")), NEAR, LET_IN).await;
            assert_eq!(done, outcome(Ok("server"), after, &[]));
        }
        // Even while a seat on the network is being taken.
        let done = run((2_003, Ok("server")), NEAR, LET_IN).await;
        assert_eq!(done, outcome(Ok("server"), 2_003, &["10.0.0.7"]));
        let done = run((4_900, Ok("server")), &[], LET_IN).await;
        assert_eq!(done, outcome(Ok("server"), 4_900, &[]));
    }

    #[tokio::test(start_paused = true)]
    async fn the_network_is_asked_at_once_when_the_server_does_not_help() {
        for error in [SignalingError::UnknownRoom, unreachable()] {
            let done = run((20, Err(error)), NEAR, LET_IN).await;
            assert_eq!(done, outcome(Ok("10.0.0.7"), 20 + 100 + 5, &["10.0.0.7"]));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_gives_way_after_two_seconds() {
        let silent = || (5_000, Err(SignalingError::Timeout));
        let done = run(silent(), NEAR, LET_IN).await;
        assert_eq!(done, outcome(Ok("10.0.0.7"), 2_005, &["10.0.0.7"]));
        let done = run(silent(), &[], LET_IN).await;
        assert_eq!(done, outcome(Err(SignalingError::Timeout), 5_000, &[]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_during_the_search_ends_the_wait() {
        let done = run((900, Err(SignalingError::UnknownRoom)), NEAR, LET_IN).await;
        assert_eq!(done, outcome(Ok("10.0.0.7"), 905, &["10.0.0.7"]));
        // The seat that was being taken then is the one that is had.
        let done = run((2_003, Err(unreachable())), NEAR, LET_IN).await;
        assert_eq!(done, outcome(Ok("10.0.0.7"), 2_005, &["10.0.0.7"]));
    }

    #[tokio::test(start_paused = true)]
    async fn several_are_tried_until_one_lets_us_in() {
        let near = &[
            (100, "ws://10.0.0.1:24642"),
            (100, "ws://10.0.0.2:24642"),
            (100, "ws://10.0.0.3:24642"),
        ];
        let answers = |host: &str| match host {
            "10.0.0.1" => (60_000, Ok(())), // Gone without a goodbye.
            "10.0.0.2" => (5, Err(SignalingError::UnknownRoom)),
            _ => (5, Ok(())),
        };
        let done = run((20, Err(SignalingError::UnknownRoom)), near, answers).await;
        let tried = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
        assert_eq!(done, outcome(Ok("10.0.0.3"), 20 + 100 + 1_000 + 10, &tried));
    }

    #[tokio::test(start_paused = true)]
    async fn without_the_room_anywhere_the_first_server_has_the_last_word() {
        for error in [SignalingError::UnknownRoom, unreachable()] {
            let lost = |_: &str| (5, Err(SignalingError::Lost));
            let done = run((20, Err(error.clone())), NEAR, lost).await;
            assert_eq!(done, outcome(Err(error), 2_520, &["10.0.0.7"]));
        }
        let full = |_: &str| (5, Err(SignalingError::RoomFull));
        let done = run((20, Err(SignalingError::UnknownRoom)), NEAR, full).await;
        assert_eq!(
            done,
            outcome(Err(SignalingError::RoomFull), 2_520, &["10.0.0.7"])
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_computer_without_multicast_asks_the_server_only() {
        let first = async {
            sleep(Duration::from_secs(3)).await;
            Ok::<_, SignalingError>("server")
        };
        let enter = |_| async { Ok("network") };
        assert_eq!(join(first, || None::<Found>, enter).await, Ok("server"));
        let first = async { Err::<&str, _>(SignalingError::UnknownRoom) };
        assert_eq!(
            join(first, || None::<Found>, enter).await,
            Err(SignalingError::UnknownRoom)
        );
    }
}
