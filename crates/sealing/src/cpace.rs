//! CPace (draft-irtf-cfrg-cpace-21), suite CPACE-RISTR255-SHA512, initiator-responder.

use pakery_cpace::{CpaceInitiator, CpaceMode, CpaceOutput, CpaceResponder, InitiatorState};
use pakery_crypto::CpaceRistretto255;
use rand::CryptoRng;
use zeroize::Zeroizing;

use crate::pake::{Pake, PakeError, Public, Share, SharedKey};

/// CPace over ristretto255 with SHA-512.
#[derive(Debug)]
pub struct Cpace;

impl Pake for Cpace {
    type Started = InitiatorState<CpaceRistretto255>;

    fn start(
        secret: &[u8],
        public: Public<'_>,
        ours: &[u8],
        random: &mut impl CryptoRng,
    ) -> Result<(Share, Self::Started), PakeError> {
        let (share, started) = CpaceInitiator::<CpaceRistretto255>::start(
            secret,
            public.channel,
            public.session,
            ours,
            random,
        )
        .map_err(|_| PakeError::InvalidShare)?;
        Ok((element(&share)?, started))
    }

    fn respond(
        secret: &[u8],
        public: Public<'_>,
        share: &Share,
        theirs: &[u8],
        ours: &[u8],
        random: &mut impl CryptoRng,
    ) -> Result<(Share, SharedKey), PakeError> {
        let (share, output) = CpaceResponder::<CpaceRistretto255>::respond(
            share,
            secret,
            public.channel,
            public.session,
            theirs,
            ours,
            CpaceMode::InitiatorResponder,
            random,
        )
        .map_err(|_| PakeError::InvalidShare)?;
        Ok((element(&share)?, key(&output)))
    }

    fn finish(
        started: Self::Started,
        share: &Share,
        theirs: &[u8],
    ) -> Result<SharedKey, PakeError> {
        let output = started
            .finish(share, theirs, CpaceMode::InitiatorResponder)
            .map_err(|_| PakeError::InvalidShare)?;
        Ok(key(&output))
    }
}

fn element(share: &[u8]) -> Result<Share, PakeError> {
    share.try_into().map_err(|_| PakeError::InvalidShare)
}

fn key(output: &CpaceOutput) -> SharedKey {
    Zeroizing::new(output.isk.as_bytes().to_vec())
}

/// Appendix B.3 of the draft.
#[cfg(test)]
mod vectors {
    use pakery_core::crypto::CpaceGroup;
    use pakery_cpace::generator::calculate_generator;
    use rand::{TryCryptoRng, TryRng};

    use super::*;

    const PASSWORD: &[u8] = b"Password";
    const CHANNEL: &[u8] = b"\x0bA_initiator\x0bB_responder";
    const SESSION: &str = "7e4b4791d6a8ef019b936c79fb7f2c57";
    const GENERATOR: &str = "222b6b195fe84b1652badb6f6a3ae3d24341e7306967f0b8115b40d5698c7e56";
    const SCALAR_A: &str = "da3d23700a9e5699258aef94dc060dfda5ebb61f02a5ea77fad53f4ff0976d08";
    const SHARE_A: &str = "d6bac480f2c386c394efc7c47adb9925dcd2630b64f240c50f8d0eec482b9157";
    const SCALAR_B: &str = "d2316b454718c35362d83d69df6320f38578ed5984651435e2949762d900b80d";
    const SHARE_B: &str = "3ea7e0b19560d7c0b0f5734f63b955286dfa8232b5ebe63324e2d9e7433f7258";
    const KEY: &str = "b69effbf61b51d56401c0f65601abe428de8206feaaf0e32198896dcae7b35cd\
                       2b38950a39dfd5d4a79164614c2984f7daa460b588c1e80c3fa2068af7900447";

    /// Gives out a scalar of the draft, and zeros to make it wide enough for a reduction.
    struct Scalar(Vec<u8>);

    impl TryRng for Scalar {
        type Error = core::convert::Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            unreachable!("only bytes are drawn")
        }

        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            unreachable!("only bytes are drawn")
        }

        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
            bytes.fill(0);
            bytes[..self.0.len()].copy_from_slice(&self.0);
            Ok(())
        }
    }

    impl TryCryptoRng for Scalar {}

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex"))
            .collect()
    }

    fn share(text: &str) -> Share {
        hex(text).try_into().expect("32 bytes")
    }

    #[test]
    fn the_generator_is_the_drafts() {
        let generator = calculate_generator::<CpaceRistretto255>(PASSWORD, CHANNEL, &hex(SESSION))
            .expect("one");
        assert_eq!(generator.to_bytes(), hex(GENERATOR));
    }

    #[test]
    fn shares_and_key_are_the_drafts() {
        let session = hex(SESSION);
        let public = Public {
            channel: CHANNEL,
            session: &session,
        };
        let (from_a, started) =
            Cpace::start(PASSWORD, public, b"ADa", &mut Scalar(hex(SCALAR_A))).expect("a share");
        assert_eq!(from_a, share(SHARE_A));
        let (from_b, responders) = Cpace::respond(
            PASSWORD,
            public,
            &from_a,
            b"ADa",
            b"ADb",
            &mut Scalar(hex(SCALAR_B)),
        )
        .expect("a share");
        assert_eq!(from_b, share(SHARE_B));
        let initiators = Cpace::finish(started, &from_b, b"ADb").expect("a key");
        assert_eq!(*initiators, hex(KEY));
        assert_eq!(*responders, hex(KEY));
    }

    #[test]
    fn invalid_and_neutral_elements_are_refused() {
        const NOT_ON_THE_CURVE: &str =
            "2b3c6b8c4f3800e7aef6864025b4ed79bd599117e427c41bd47d93d654b4a51c";
        let public = Public {
            channel: CHANNEL,
            session: b"",
        };
        for wrong in [share(NOT_ON_THE_CURVE), [0; 32], [255; 32]] {
            let mut random = rand::rng();
            let answer = Cpace::respond(PASSWORD, public, &wrong, b"", b"", &mut random);
            assert_eq!(answer.err(), Some(PakeError::InvalidShare));
            let (_, started) = Cpace::start(PASSWORD, public, b"", &mut random).expect("a share");
            let key = Cpace::finish(started, &wrong, b"");
            assert_eq!(key.err(), Some(PakeError::InvalidShare));
        }
    }
}
