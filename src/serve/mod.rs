//! The pages over HTTP: from a request to a response as a function, then connections and their limits.

mod auth;
mod future;
mod host;
mod negotiate;
mod options;
mod process;
mod response;
mod shutdown;
mod stats;

mod pages;
mod rendered;

mod handler;
mod routes;

mod limit;
mod timeout;

mod accept;

mod builder;
mod server;

pub use auth::InvalidToken;
pub use builder::ServerBuilder;
pub use future::ResponseFuture;
pub use handler::Handler;
pub use server::{Server, serve};
pub use shutdown::shutdown_signal;
