//! Arrows between numbered things: floors, circles, and which arrows are implied by others.

use std::collections::{BTreeSet, VecDeque};

/// `below[a]` holds what `a` points to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Graph {
    pub(crate) below: Vec<BTreeSet<usize>>,
}

impl Graph {
    pub(crate) fn new(nodes: usize, arrows: impl IntoIterator<Item = (usize, usize)>) -> Graph {
        let mut below = vec![BTreeSet::new(); nodes];
        for (from, to) in arrows {
            if from != to {
                below[from].insert(to);
            }
        }
        Graph { below }
    }

    pub(crate) fn arrows(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.below.iter().enumerate().flat_map(|(from, below)| below.iter().map(move |&to| (from, to)))
    }

    /// The shortest way from `from` to `to` by at least one arrow, both included.
    fn way(&self, from: usize, to: usize) -> Option<Vec<usize>> {
        let mut came_from = vec![None; self.below.len()];
        let mut queue = VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            for &next in &self.below[at] {
                if next == to {
                    let mut way = vec![to];
                    way.extend(std::iter::successors(Some(at), |&at| if at == from { None } else { came_from[at] }));
                    way.reverse();
                    return Some(way);
                }
                if next != from && came_from[next].is_none() {
                    came_from[next] = Some(at);
                    queue.push_back(next);
                }
            }
        }
        None
    }

    /// For each node, the first node of those that it stands in a circle with (itself, if in none).
    fn knots(&self) -> Vec<usize> {
        let nodes = 0..self.below.len();
        let reaches: Vec<Vec<bool>> =
            nodes.clone().map(|from| nodes.clone().map(|to| self.way(from, to).is_some()).collect()).collect();
        nodes
            .clone()
            .map(|node| nodes.clone().find(|&other| reaches[node][other] && reaches[other][node]).unwrap_or(node))
            .collect()
    }

    /// A shortest circle of each knot of nodes that reach each other; the first node stands at its end again.
    pub(crate) fn circles(&self) -> Vec<Vec<usize>> {
        let knots = self.knots();
        let heads: BTreeSet<usize> =
            (0..knots.len()).filter(|&node| self.way(node, node).is_some()).map(|n| knots[n]).collect();
        heads
            .into_iter()
            .filter_map(|head| {
                let of_knot = (0..knots.len()).filter(|&node| knots[node] == head);
                of_knot.filter_map(|node| self.way(node, node)).min_by_key(Vec::len)
            })
            .collect()
    }

    /// The floor of each node: 1 where nothing is needed, else above all that it needs; a circle shares one.
    pub(crate) fn floors(&self) -> Vec<usize> {
        let knots = self.knots();
        let mut floors = vec![1; self.below.len()];
        loop {
            let mut next = floors.clone();
            for (from, to) in self.arrows().filter(|&(from, to)| knots[from] != knots[to]) {
                next[from] = next[from].max(floors[to] + 1);
            }
            for node in 0..next.len() {
                let of_knot = (0..next.len()).filter(|&other| knots[other] == knots[node]);
                next[node] = of_knot.map(|other| next[other]).max().unwrap_or(1);
            }
            if next == floors {
                return floors;
            }
            floors = next;
        }
    }

    /// The arrows that a longer way implies.
    pub(crate) fn implied(&self) -> BTreeSet<(usize, usize)> {
        self.arrows()
            .filter(|&(from, to)| {
                let mut without = self.clone();
                without.below[from].remove(&to);
                without.way(from, to).is_some()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_rise_with_the_longest_way() {
        let graph = Graph::new(4, [(0, 1), (1, 2), (0, 2), (0, 3)]);
        assert_eq!(graph.floors(), [3, 2, 1, 1]);
        assert_eq!(graph.implied(), BTreeSet::from([(0, 2)]));
        assert!(graph.circles().is_empty());
    }

    #[test]
    fn a_circle_is_found_and_shares_a_floor() {
        let graph = Graph::new(5, [(0, 1), (1, 2), (2, 3), (3, 1), (2, 1), (3, 4)]);
        assert_eq!(graph.circles(), [vec![1, 2, 1]]);
        assert_eq!(graph.floors(), [3, 2, 2, 2, 1]);
    }
}
