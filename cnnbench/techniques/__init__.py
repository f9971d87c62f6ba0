"""What can be chosen beside a model and its data: functions and callbacks that know no files, no configs, no run."""
