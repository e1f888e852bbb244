# List the commands
default:
    @just --list --unsorted

# Run the tests, or those with a name
test *name:
    cargo test {{ name }}

# Check formatting, clippy and rustdoc
lint:
    cargo fmt --all --check
    cargo clippy --all-targets --all-features -- -D warnings
    RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --all-features

# Start the example broker on http://127.0.0.1:8080/
broker *options:
    cargo run --release --example broker -- {{ options }}

# Measure the cost of recording an event
bench *filter:
    cargo bench --bench observe -- {{ filter }}

# Run every check of CI, or some groups of it; installs missing tools
ci *groups:
    .ci/run {{ groups }}
