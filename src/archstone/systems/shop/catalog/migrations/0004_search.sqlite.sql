-- The words that names of products are made of, and their trigrams: a word that is typed wrong is looked up here.
-- Words are not taken out with their products: they are few, and one that finds nothing does no harm.

CREATE TABLE words (
    id INTEGER PRIMARY KEY,
    word TEXT NOT NULL UNIQUE         -- lower case, without accents, letters only
);

CREATE TABLE word_parts (
    part TEXT NOT NULL,               -- three characters of the word with a space before it
    length INTEGER NOT NULL,          -- characters of the word
    word TEXT NOT NULL,
    PRIMARY KEY (part, length, word)
) WITHOUT ROWID;

CREATE VIRTUAL TABLE terms USING fts5vocab (search, 'col');
INSERT INTO words (word) SELECT term FROM terms
    WHERE col = 'name' AND length(term) BETWEEN 3 AND 24 AND term NOT GLOB '*[^a-z]*' ORDER BY term;
DROP TABLE terms;

WITH RECURSIVE cut (word, text, at) AS (
    SELECT word, ' ' || word, 1 FROM words
    UNION ALL
    SELECT word, text, at + 1 FROM cut WHERE at < length(text) - 2
)
INSERT OR IGNORE INTO word_parts (part, length, word) SELECT substr(text, at, 3), length(word), word FROM cut;
