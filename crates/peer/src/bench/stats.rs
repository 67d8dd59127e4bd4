//! Statistics in the form of the contract.

use ahoy_call::stats::ParticipantStats;
use serde_json::{Map, Value};

/// Objects by type and kind, such as `inbound-rtp:video`. Nothing that is not known: neither
/// members nor whole objects.
pub(super) fn by_type(stats: &ParticipantStats) -> Value {
    let Ok(Value::Object(mut objects)) = serde_json::to_value(stats) else {
        return Value::Object(Map::new());
    };
    objects.retain(|_, value| value.as_object().is_some_and(|members| !members.is_empty()));
    Value::Object(objects)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_known_is_there() {
        let mut stats = ParticipantStats::default();
        assert_eq!(by_type(&stats), json!({}));
        stats.id = 7;
        stats.inbound_video.frames_decoded = Some(0);
        stats.pair.current_round_trip_time = Some(0.25);
        assert_eq!(
            by_type(&stats),
            json!({
                "inbound-rtp:video": {"framesDecoded": 0},
                "pair": {"currentRoundTripTime": 0.25},
            })
        );
    }
}
