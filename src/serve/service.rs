//! The `Service` traits of hyper and tower.

/// Implements both traits for any body. The expression is the [`ResponseFuture`](crate::ResponseFuture) of a request.
macro_rules! impl_service {
    ($type:ty, |$self:ident, $request:ident| $response:expr) => {
        impl<B> hyper::service::Service<http::Request<B>> for $type {
            type Response = crate::serve::response::Response;
            type Error = std::convert::Infallible;
            type Future = crate::serve::future::ResponseFuture;

            fn call(&self, request: http::Request<B>) -> Self::Future {
                let ($self, $request) = (self, &request);
                $response
            }
        }

        impl<B> tower_service::Service<http::Request<B>> for $type {
            type Response = crate::serve::response::Response;
            type Error = std::convert::Infallible;
            type Future = crate::serve::future::ResponseFuture;

            fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
                std::task::Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: http::Request<B>) -> Self::Future {
                hyper::service::Service::call(self, request)
            }
        }
    };
}

pub(super) use impl_service;
