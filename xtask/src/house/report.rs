//! What was found out about buildings, for people and as data.

use serde_json::{Value, json};

use super::building::Building;

/// Prints rooms by floor, each with its arrows, then the findings.
pub(crate) fn print(building: &Building) {
    let floors = building.floors();
    let plan = if building.has_plan { "" } else { " (no plan: floors by the longest chain of imports)" };
    println!(
        "\n{}: {} rooms on {} floors, {} arrows, {} upwards, {} circles{plan}",
        building.name,
        building.rooms.len(),
        floors.len(),
        building.graph.arrows().count(),
        building.upwards.len(),
        building.circles.len()
    );
    for (floor, rooms) in floors {
        for room in rooms {
            println!("  {floor:>2}  {:<14} -> {}", building.rooms[room].name, arrows_of(building, room).join(" "));
        }
    }
    building.circles.iter().for_each(|circle| println!("  {circle}"));
    building.findings.iter().for_each(|finding| println!("  ! {finding}"));
}

/// The rooms that `room` imports from; `^` marks those not below it.
fn arrows_of(building: &Building, room: usize) -> Vec<String> {
    let mark = |to| if building.upwards.contains(&(room, to)) { "^" } else { "" };
    building.graph.below[room].iter().map(|&to| format!("{}{}", building.rooms[to].name, mark(to))).collect()
}

/// The same as data.
pub(crate) fn to_json(buildings: &[Building]) -> Value {
    let crates: Vec<Value> = buildings.iter().map(one_to_json).collect();
    json!({ "crates": crates })
}

fn one_to_json(building: &Building) -> Value {
    let names = |arrows: &mut dyn Iterator<Item = (usize, usize)>| -> Vec<[String; 2]> {
        arrows.map(|(from, to)| [building.rooms[from].name.clone(), building.rooms[to].name.clone()]).collect()
    };
    let rooms: Vec<Value> = building
        .rooms
        .iter()
        .map(|room| json!({"name": room.name, "floor": room.floor, "words": room.words}))
        .collect();
    json!({
        "name": building.name,
        "has_plan": building.has_plan,
        "floors": building.floors().len(),
        "rooms": rooms,
        "arrows": names(&mut building.graph.arrows()),
        "upwards": names(&mut building.upwards.iter().copied()),
        "circles": building.circles,
        "findings": building.findings,
    })
}
