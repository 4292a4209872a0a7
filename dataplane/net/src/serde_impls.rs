//! Serialisation of [`Prefix`] and [`Mac`]: text for people (TOML, JSON), bytes for machines (postcard).

use core::net::Ipv4Addr;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::{Mac, Prefix};

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { (self.bits(), self.len()).serialize(s) }
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            d.deserialize_str(Text("a prefix such as 192.0.2.0/24", core::marker::PhantomData))
        } else {
            let (bits, len) = <(u32, u8)>::deserialize(d)?;
            Self::new(Ipv4Addr::from_bits(bits), len).map_err(de::Error::custom)
        }
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { self.0.serialize(s) }
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            d.deserialize_str(Text("a hardware address such as 02:00:5e:10:00:01", core::marker::PhantomData))
        } else {
            <[u8; 6]>::deserialize(d).map(Self)
        }
    }
}

/// Reads a value from its text form, saying what was expected.
struct Text<T>(&'static str, core::marker::PhantomData<T>);

impl<T: core::str::FromStr<Err: core::fmt::Display>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(de::Error::custom)
    }
}
