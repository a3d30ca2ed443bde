//! Which content codings a request accepts, and how much it wants each (RFC 9110 §12.5.3).

use super::fields::{Fields, each_named, is};
use super::syntax::members;
use super::weight::weighted;

/// The weights that a request gives to some content codings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptEncoding<const N: usize> {
    /// In thousandths; 0 is "not acceptable".
    weights: [u16; N],
    identity: Option<u16>,
}

impl<const N: usize> AcceptEncoding<N> {
    /// Reads the request's `Accept-Encoding` for the codings named by `offers`. The first mention of a coding counts; `*` stands for
    /// those that are not mentioned. Without the field nothing but the identity is sent: it would be allowed, but clients that
    /// name no coding often understand none.
    pub fn of(fields: &dyn Fields, offers: &[&str; N]) -> AcceptEncoding<N> {
        let (mut named, mut identity, mut any) = ([None; N], None, None);
        each_named(fields, "accept-encoding", &mut |value| {
            for member in members(value) {
                let (name, weight) = weighted(member);
                let place = match offers.iter().position(|offer| is_coding(name, offer)) {
                    Some(at) => named.get_mut(at),
                    None if is(name, "identity") => Some(&mut identity),
                    None if name == b"*" => Some(&mut any),
                    None => None,
                };
                if let Some(place) = place {
                    place.get_or_insert(weight);
                }
            }
        });
        AcceptEncoding {
            weights: named.map(|weight| weight.or(any).unwrap_or(0)),
            identity,
        }
    }

    /// The places of the codings that are to be preferred to the identity, the most wanted first; equally wanted ones in the order of
    /// the offers.
    pub fn preferred(&self) -> impl Iterator<Item = usize> + use<N> {
        // An identity that is not named is acceptable, and wanted less than any coding that is.
        let least = self.identity.unwrap_or(0).max(1);
        let mut places: [usize; N] = std::array::from_fn(|at| at);
        let weights = self.weights;
        let weight = move |at: &usize| weights.get(*at).copied().unwrap_or(0);
        places.sort_by_key(|at| std::cmp::Reverse(weight(at)));
        places.into_iter().filter(move |at| weight(at) >= least)
    }
}

/// `x-gzip` is gzip (RFC 9110 §8.4.1.3).
fn is_coding(name: &[u8], coding: &str) -> bool {
    is(name, coding) || coding == "gzip" && is(name, "x-gzip")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERS: [&str; 3] = ["zstd", "br", "gzip"];

    fn preferred(lines: &[&str]) -> String {
        let fields: Vec<_> = lines
            .iter()
            .map(|line| ("Accept-Encoding", *line))
            .collect();
        let accepted = AcceptEncoding::of(&fields, &OFFERS);
        let names: Vec<_> = accepted.preferred().map(|at| OFFERS[at]).collect();
        names.join(" ")
    }

    #[test]
    fn what_a_client_wants_most_comes_first() {
        for (lines, want) in [
            // RFC 9110 §12.5.3: no field is any coding; it is answered by the identity all the same.
            (&[][..], ""),
            (&[""], ""),
            (&["gzip"], "gzip"),
            (&["GZip"], "gzip"),
            (&["x-gzip"], "gzip"),
            (&["gzip, deflate, br, zstd"], "zstd br gzip"),
            (&["gzip;q=1.0, br;q=0.8"], "gzip br"),
            (&["gzip;q=0.5", "br;q=0.6"], "br gzip"),
            (&["*"], "zstd br gzip"),
            (&["*;q=0.5, gzip"], "gzip zstd br"),
            (&["br;q=0, *"], "zstd gzip"),
            (&["*;q=0"], ""),
            (&["*;q=0, br"], "br"),
            (&["gzip;q=0"], ""),
            (&["gzip;q=0.000, br;q=0.001"], "br"),
            (&["gzip, gzip;q=0"], "gzip"),
            // §12.5.3: a weight above that of a coding prefers the identity to it.
            (&["identity, gzip;q=0.5"], ""),
            (&["identity;q=0.5, gzip;q=0.5, br;q=0.4"], "gzip"),
            (&["identity;q=0, gzip;q=0.1"], "gzip"),
            (&["compress, sdch"], ""),
            (&["gzip ; q=0.3 , br ; q=0.7"], "br gzip"),
            // A malformed weight is as none.
            (&["gzip;q=x, br;q=0.9"], "gzip br"),
            (&["gzip;q=1.001, br;q=0.5"], "gzip br"),
        ] {
            assert_eq!(preferred(lines), want, "{lines:?}");
        }
    }
}
