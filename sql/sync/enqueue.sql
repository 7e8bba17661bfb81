INSERT INTO {queue} ({key}) VALUES ({key_values})
