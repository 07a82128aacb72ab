//! Accepting connections for as long as somebody wants them.

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Serves each connection in a task of its own. Everything ends with the value.
pub fn accept_each<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F + Send + 'static) -> JoinSet<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut task = JoinSet::new();
    task.spawn(async move {
        let mut served = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                    served.spawn(serve(stream));
                },
                Some(_) = served.join_next(), if !served.is_empty() => {}
            }
        }
    });
    task
}
