use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Wake as Task;
use std::thread;

use tokio::runtime::{Builder, Runtime};

use super::*;

#[derive(Default)]
struct Woken(AtomicUsize);

impl Task for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

impl Woken {
    fn count(&self) -> usize {
        self.0.load(Relaxed)
    }
}

fn wait(wake: &mut Wake, task: &Arc<Woken>) -> bool {
    wake.poll_changed(&Context::from_waker(&Waker::from(Arc::clone(task)))).is_pending()
}

fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

/// Lets the tasks of a runtime run for as long as there are any.
fn run(runtime: &Runtime) {
    runtime.block_on(async {
        while Handle::current().metrics().num_alive_tasks() > 0 {
            yield_now().await;
        }
    });
}

/// Readers that wait on a runtime.
fn waiting_on(
    runtime: &Runtime,
    readers: &Arc<Readers>,
    task: &Arc<Woken>,
    count: usize,
) -> Vec<Wake> {
    let _entered = runtime.enter();
    let mut wakes: Vec<_> = (0..count).map(|_| readers.join()).collect();
    assert!(wakes.iter_mut().all(|wake| wait(wake, task)));
    wakes
}

#[test]
fn every_reader_is_woken_by_every_move() {
    let readers = Arc::new(Readers::default());
    let task = Arc::new(Woken::default());
    let count = 3 * WOKEN_AT_ONCE + 1;
    let mut wakes: Vec<_> = (0..count).map(|_| readers.join()).collect();
    for moves in 1..=3 {
        assert!(wakes.iter_mut().all(|wake| wait(wake, &task)));
        readers.wake();
        assert_eq!(task.count(), moves * count);
        assert!(wakes.iter_mut().all(|wake| !wait(wake, &task)));
        wakes.iter_mut().for_each(Wake::mark_unchanged);
    }
}

#[test]
fn a_move_before_the_wait_ends_it_and_one_that_was_marked_does_not() {
    let readers = Arc::new(Readers::default());
    let (mut wake, task) = (readers.join(), Arc::default());
    readers.wake();
    assert!(wake.has_changed() && !wait(&mut wake, &task));
    wake.mark_unchanged();
    assert!(!wake.has_changed() && wait(&mut wake, &task));
}

#[test]
fn a_reader_that_another_task_polls_wakes_that_task() {
    let readers = Arc::new(Readers::default());
    let (first, second) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
    let mut wake = readers.join();
    assert!(wait(&mut wake, &first) && wait(&mut wake, &second));
    readers.wake();
    assert_eq!((first.count(), second.count()), (0, 1));
}

#[test]
fn readers_that_left_are_neither_woken_nor_kept() {
    let readers = Arc::new(Readers::default());
    let task = Arc::new(Woken::default());
    for _ in 0..3 {
        let mut wakes: Vec<_> = (0..10).map(|_| readers.join()).collect();
        assert!(wakes.iter_mut().all(|wake| wait(wake, &task)));
        wakes.truncate(4);
        assert_eq!((readers.count(), readers.shards().list[0].places()), (4, 10));
        let mut again = readers.join();
        assert!(wait(&mut again, &task));
        assert_eq!((readers.count(), readers.shards().list[0].places()), (5, 10));
        drop((wakes, again));
        assert_eq!((readers.count(), readers.shards().list.len()), (0, 0));
        assert_eq!(Arc::strong_count(&task), 1);
    }
}

#[tokio::test]
async fn a_wave_reaches_every_reader_and_a_move_meanwhile_prolongs_it() {
    let readers = Arc::new(Readers::default());
    let tasks: Vec<_> = (0..5 * WOKEN_AT_ONCE).map(|_| Arc::<Woken>::default()).collect();
    let mut wakes: Vec<_> = tasks.iter().map(|_| readers.join()).collect();
    assert!(wakes.iter_mut().zip(&tasks).all(|(wake, task)| wait(wake, task)));
    let woken = || tasks.iter().map(|task| task.count()).collect::<Vec<_>>();

    readers.wake();
    assert_eq!(woken().iter().sum::<usize>(), 0, "the move itself wakes nobody");
    yield_now().await;
    let before = woken();
    assert_eq!(before.iter().sum::<usize>(), WOKEN_AT_ONCE);
    readers.wake();
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 1);
    while readers.shards().list[0].is_waking {
        yield_now().await;
    }
    assert!(woken().iter().zip(before).all(|(after, before)| *after > before));
    assert_eq!(Arc::strong_count(&readers), wakes.len() + 1, "no wave is left");
}

#[test]
fn a_move_wakes_a_shard_of_another_runtime_by_one_task_there() {
    for count in [2, WOKEN_AT_ONCE, 3 * WOKEN_AT_ONCE] {
        let (here, elsewhere) = (runtime(), runtime());
        let readers = Arc::new(Readers::default());
        let (near, far) = (Arc::<Woken>::default(), Arc::<Woken>::default());
        let wakes = waiting_on(&here, &readers, &near, 2);
        let others = waiting_on(&elsewhere, &readers, &far, count);

        let entered = here.enter();
        readers.wake();
        readers.wake();
        drop(entered);
        assert_eq!((near.count(), far.count()), (4, 0));
        assert_eq!(elsewhere.metrics().num_alive_tasks(), 1, "the second move finds the wave");
        run(&elsewhere);
        // The wave began after both moves, so it has seen both.
        assert_eq!((near.count(), far.count()), (4, count));
        drop((wakes, others));
        assert_eq!(readers.shards().list.len(), 0);
    }
}

#[test]
fn a_single_reader_of_another_runtime_is_woken_without_a_task() {
    let (here, elsewhere) = (runtime(), runtime());
    let readers = Arc::new(Readers::default());
    let task = Arc::<Woken>::default();
    let _wakes = waiting_on(&elsewhere, &readers, &task, 1);
    let _entered = here.enter();
    readers.wake();
    assert_eq!((task.count(), elsewhere.metrics().num_alive_tasks()), (1, 0));
}

#[test]
fn a_move_outside_any_runtime_wakes_readers_on_theirs() {
    let runtime = runtime();
    let readers = Arc::new(Readers::default());
    let task = Arc::<Woken>::default();
    let _wakes = waiting_on(&runtime, &readers, &task, 2);
    readers.wake();
    run(&runtime);
    assert_eq!(task.count(), 2);
}

#[test]
fn a_reader_that_is_polled_on_another_runtime_moves_to_its_shard() {
    let (first, second) = (runtime(), runtime());
    let readers = Arc::new(Readers::default());
    let (before, after) = (Arc::<Woken>::default(), Arc::<Woken>::default());
    let mut wakes = waiting_on(&first, &readers, &before, 3);
    let entered = second.enter();
    assert!(wakes.iter_mut().all(|wake| wait(wake, &after)));
    drop(entered);
    assert_eq!(Arc::strong_count(&before), 1, "nothing of them is left on the first");

    readers.wake();
    assert_eq!(first.metrics().num_alive_tasks(), 0);
    run(&second);
    assert_eq!((before.count(), after.count()), (0, 3));
    assert_eq!(readers.count(), 3);
}

#[test]
fn a_runtime_that_has_ended_loses_no_wake_up_and_leaves_its_shard_to_another() {
    let ended = runtime();
    let readers = Arc::new(Readers::default());
    let task = Arc::<Woken>::default();
    let wakes = waiting_on(&ended, &readers, &task, 2);
    // A wave that waits for its turn, and then one that comes too late.
    readers.wake();
    assert_eq!(task.count(), 0);
    drop(ended);
    assert_eq!(task.count(), 2);
    readers.wake();
    assert_eq!(task.count(), 4);

    let keeper = readers.join();
    let next = runtime();
    drop(wakes);
    let _wakes = waiting_on(&next, &readers, &task, 2);
    assert_eq!((readers.count(), readers.shards().list.len()), (3, 1));
    drop(keeper);
}

#[test]
fn readers_on_two_threads_hear_of_every_move() {
    const MOVES: u64 = 2_000;
    const READERS: usize = WOKEN_AT_ONCE + 1;
    let readers = Arc::new(Readers::default());
    let ready = Barrier::new(3);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                runtime().block_on(async {
                    let all: Vec<_> = (0..READERS).map(|_| readers.join()).collect();
                    ready.wait();
                    let tasks = all.into_iter().map(|mut wake| {
                        tokio::spawn(async move {
                            while wake.seen < MOVES {
                                std::future::poll_fn(|cx| wake.poll_changed(cx)).await;
                                wake.mark_unchanged();
                            }
                        })
                    });
                    for task in tasks.collect::<Vec<_>>() {
                        task.await.unwrap();
                    }
                });
            });
        }
        ready.wait();
        (0..MOVES).for_each(|_| readers.wake());
    });
    // A wave may have held on to its shard when its runtime ended.
    assert_eq!((readers.count(), readers.shards().list.len()), (0, 0));
    assert_eq!(Arc::strong_count(&readers), 1);
}
