-- A dead letter that was edited, or declared ready for a replay, is `corrected`; so are its events.

alter table rowledger.dead_letter drop constraint dead_letter_state_check;
update rowledger.dead_letter set state = 'corrected' where state = 'mended';
alter table rowledger.dead_letter add constraint dead_letter_state_check
    check (state in ('open', 'corrected', 'replayed', 'discarded'));

alter table rowledger.letter_event drop constraint letter_event_state_check;
update rowledger.letter_event set state = 'corrected' where state = 'mended';
alter table rowledger.letter_event add constraint letter_event_state_check
    check (state in ('open', 'corrected', 'replayed', 'discarded'));

alter table rowledger.dead_letter rename column mended_payload to corrected_payload;
comment on column rowledger.dead_letter.corrected_payload is 'The row as it was edited; payload stays what was refused.';
