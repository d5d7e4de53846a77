-- Stock that an imported catalogue brings: what the last file said of a product, and by which import.
-- Another figure later is booked as a difference, so that what was sold or is held meanwhile stays so.

ALTER TABLE stock ADD COLUMN imported INTEGER NOT NULL DEFAULT 0;
ALTER TABLE stock ADD COLUMN import INTEGER NOT NULL DEFAULT 0;
UPDATE stock SET imported = initial;
