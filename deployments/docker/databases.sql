-- Prefect's own database, beside cognee's. Run once, when the volume is new.
CREATE DATABASE prefect;
