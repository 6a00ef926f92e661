-- name: put
INSERT INTO entry (place, count, size, at, grade, kind, shard, fence, raw, id, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING;

-- name: put_newest
INSERT INTO newest (endpoint, place) VALUES (?, ?) ON CONFLICT (endpoint) DO UPDATE SET place = excluded.place;

-- name: rows
SELECT place, count, size, at / 1e6, grade FROM entry WHERE place > ? ORDER BY place LIMIT ?;

-- name: graded
SELECT place, count, size, at / 1e6, grade FROM entry INDEXED BY graded
WHERE grade > 0 AND place > ? ORDER BY place LIMIT ?;

-- name: before
SELECT place, count, size, at / 1e6, grade, kind FROM entry WHERE place <= ? ORDER BY place DESC LIMIT 1;

-- name: metrics
SELECT place, count, size, at / 1e6, grade FROM entry
WHERE place > ? AND grade = 0 AND kind <> 'dropped' ORDER BY place LIMIT ?;

-- name: newest
SELECT entry.place, entry.count, entry.size, entry.at / 1e6, entry.grade FROM newest
JOIN entry ON entry.place = newest.place WHERE entry.kind <> 'dropped' ORDER BY entry.place DESC;

-- name: read
SELECT place, kind, at, body, raw, shard, fence, count FROM entry
WHERE place IN (SELECT value FROM json_each(?)) ORDER BY place;

-- name: sum
SELECT count(*), coalesce(sum(size), 0) FROM entry WHERE place BETWEEN ? AND ? AND kind <> 'dropped';

-- name: first_at
SELECT at FROM entry WHERE place BETWEEN ? AND ? AND kind <> 'dropped' ORDER BY place LIMIT 1;

-- name: any
SELECT EXISTS (SELECT 1 FROM entry WHERE place BETWEEN ? AND ?);

-- name: end_of
SELECT max(place) FROM (SELECT place FROM entry WHERE place BETWEEN ? AND ? ORDER BY place LIMIT ?);

-- name: delete
DELETE FROM entry WHERE place BETWEEN ? AND ? AND place + count - 1 <= ?;

-- name: remove
DELETE FROM entry WHERE place = ?;

-- name: forget_newest
DELETE FROM newest WHERE place < coalesce((SELECT min(place) FROM entry), 0);

-- name: put_covered
INSERT OR REPLACE INTO covered (at, highs) VALUES (?, ?);

-- name: covered
SELECT at, highs FROM covered ORDER BY at;

-- name: forget_covered
DELETE FROM covered WHERE at < ? OR at > ?;

-- name: put_books
INSERT OR REPLACE INTO books (one, body) VALUES (1, ?);

-- name: books
SELECT body FROM books;
