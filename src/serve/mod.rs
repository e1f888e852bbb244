//! The pages over HTTP: from a request to a response as a function, then the loop that accepts
//! connections.

mod limits;
mod negotiate;
mod reply;
mod token;

mod process;
mod stats;

mod round;
mod taken;

mod scraper;

mod handler;

mod builder;
mod server;

mod paced;
mod places;

mod accept;

pub use builder::ServerBuilder;
pub use handler::{Handler, Responding};
pub use server::{Server, serve};
pub use token::InvalidToken;
