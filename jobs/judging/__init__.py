"""What a judge is told and what it reads: rubrics and transcripts, for every study that judges."""
