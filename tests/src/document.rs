//! What stands in the repository's documents.

use cache_sync_cluster::workspace_root;

/// A fenced block of a Markdown text.
#[derive(Debug)]
pub struct Block {
    /// What it is written in.
    pub language: String,
    /// Its lines.
    pub text: String,
}

/// The text of a file of the repository.
pub fn read(file: &str) -> String {
    std::fs::read_to_string(workspace_root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The fenced blocks of a Markdown text, in their order.
pub fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = markdown.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text = lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
            blocks.push(Block { language: language.to_owned(), text });
        }
    }
    blocks
}

/// The texts of the blocks in one language.
pub fn blocks_in(markdown: &str, language: &str) -> Vec<String> {
    blocks(markdown).into_iter().filter(|block| block.language == language).map(|block| block.text).collect()
}
