//! Holds the namespaces of a pod open and does nothing else.

fn main() {
    loop {
        std::thread::park();
    }
}
