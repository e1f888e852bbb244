//! The pages over HTTP: from a request to a response as a function, then the loop that accepts
//! connections.

mod handler;
mod reply;
mod server;

pub use handler::Handler;
pub use server::{Server, ServerBuilder, serve};
