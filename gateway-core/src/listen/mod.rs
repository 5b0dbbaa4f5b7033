//! Listeners: sockets, accepting, finding out the protocol, serving.

mod accept;
mod bind;
mod detect;
mod door;
mod layer4;
mod serve;
mod udp;

pub(crate) use accept::{Running, start};
pub(crate) use bind::{BindError, Families, Sockets, bind, bind_udp};
#[cfg(any(test, feature = "testing"))]
pub(crate) use detect::{Spoken, detect};
pub(crate) use door::{DoorPolicy, ProcessDoor};
